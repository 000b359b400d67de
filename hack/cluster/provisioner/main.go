// Command provisioner makes the volumes of the cluster of hack/cluster: each is a folder that all nodes share, offered as
// a local volume, so that (unlike a hostPath) it honours fsGroup and a Redis that is not root can write to it.
//
// It acts on claims of the storage class provisioner wscluster.dev/folder and on released volumes of its own. Sizes are
// not enforced.
//
//	provisioner -kubeconfig FILE -folder DIR
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// resync is how often every claim and volume is looked at again; it repairs what a failed call left undone.
const resync = 5 * time.Second

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of an administrator")
	folder := flag.String("folder", "", "folder that holds the volumes; the same path on every node")
	flag.Parse()
	if *kubeconfig == "" || *folder == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*kubeconfig, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		os.Exit(1)
	}
}

// run works until the process is asked to stop.
func run(kubeconfig, folder string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	p := provisioner{client: client, folder: folder, log: slog.New(slog.NewTextHandler(os.Stdout, nil))}
	factory := informers.NewSharedInformerFactory(client, resync)
	if err := watch(factory.Core().V1().PersistentVolumeClaims().Informer(), func(c *corev1.PersistentVolumeClaim) { p.claim(ctx, c) }); err != nil {
		return err
	}
	if err := watch(factory.Core().V1().PersistentVolumes().Informer(), func(v *corev1.PersistentVolume) { p.volume(ctx, v) }); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
	return nil
}

// watch calls handle with every object that is new, changed or due for its resync, one at a time.
func watch[T any](informer cache.SharedIndexInformer, handle func(T)) error {
	call := func(object any) {
		if typed, ok := object.(T); ok {
			handle(typed)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    call,
		UpdateFunc: func(_, updated any) { call(updated) },
	})
	return err
}
