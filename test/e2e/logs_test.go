//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keepLogs follows the logs of every pod of the namespace until the test ends, and returns the folder that they go to: the logs of
// a pod that went away are gone with it, and most tests make pods go away.
func keepLogs(t *testing.T, namespace string) string {
	t.Helper()
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		following.Wait() // before the folder is removed
	})
	following.Go(func() {
		known := map[types.UID]bool{}
		for ctx.Err() == nil {
			var pods corev1.PodList
			_ = api.List(ctx, &pods, client.InNamespace(namespace)) // the API server may be away; then there is another time
			for i := range pods.Items {
				pod := &pods.Items[i]
				if pod.Status.Phase == corev1.PodPending || known[pod.UID] {
					continue
				}
				known[pod.UID] = true
				following.Go(func() { followLogs(ctx, namespace, pod.Name, folder) })
			}
			pause(ctx)
		}
	})
	return folder
}

// followLogs writes the logs of a pod until it is gone.
func followLogs(ctx context.Context, namespace, pod, folder string) {
	for ctx.Err() == nil {
		stream, err := typed.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true, Timestamps: true}).Stream(ctx)
		if apierrors.IsNotFound(err) {
			return
		}
		if err == nil {
			// what there was before an interruption comes again
			if file, err := os.Create(filepath.Join(folder, pod+".log")); err == nil {
				_, _ = io.Copy(file, stream) // ends with the pod, the test or the API server
				_ = file.Close()
			}
			_ = stream.Close()
		}
		pause(ctx)
	}
}

// pause is the time between two looks at the pods.
func pause(ctx context.Context) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
}
