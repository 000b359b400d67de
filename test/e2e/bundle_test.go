//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// collect writes what is needed to understand a failure into a folder and returns its path: objects, events and logs of the
// namespace, the operator's logs, and the state of the nodes. What cannot be had is said in its place.
func collect(ctx context.Context, test, namespace string) string {
	folder := filepath.Join(*artifacts, strings.ReplaceAll(test, "/", "_"), namespace)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "nowhere: " + err.Error()
	}
	write := func(name, text string, err error) {
		if err != nil {
			text += "\n" + err.Error() + "\n"
		}
		_ = os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644) // a full disk shows in the folder
	}
	for name, arguments := range map[string]string{
		"overview.txt":       "-n " + namespace + " get wsc,all,cm,secret,pdb,hpa,netpol,ingress,pvc,endpointslice -o wide",
		"objects.yaml":       "-n " + namespace + " get wsc,all,cm,pdb,hpa,netpol,ingress,pvc,endpointslice -o yaml",
		"events.txt":         "-n " + namespace + " get events --sort-by=.metadata.creationTimestamp",
		"nodes.txt":          "get nodes,pods -A -o wide",
		"system-objects.txt": "-n " + systemNamespace + " get all,lease -o yaml",
		"system-events.txt":  "-n " + systemNamespace + " get events --sort-by=.metadata.creationTimestamp",
		"usage.txt":          "top pods -A",
	} {
		text, err := run(ctx, "", os.Getenv("KUBECTL"), strings.Fields(arguments)...)
		write(name, text, err)
	}
	for _, space := range []string{namespace, systemNamespace} {
		var pods corev1.PodList
		if err := api.List(ctx, &pods, client.InNamespace(space)); err != nil {
			write("logs-of-"+space+".txt", "", err)
			continue
		}
		for i := range pods.Items {
			podLogs(ctx, &pods.Items[i], write)
		}
	}
	return folder
}

// podLogs writes the logs of every container, also of the one before a restart.
func podLogs(ctx context.Context, pod *corev1.Pod, write func(name, text string, err error)) {
	for _, status := range pod.Status.ContainerStatuses {
		text, err := logs(ctx, pod.Namespace, pod.Name, corev1.PodLogOptions{Container: status.Name})
		write(pod.Name+"-"+status.Name+".log", text, err)
		if status.RestartCount > 0 {
			text, err = logs(ctx, pod.Namespace, pod.Name, corev1.PodLogOptions{Container: status.Name, Previous: true})
			write(pod.Name+"-"+status.Name+"-previous.log", text, err)
		}
	}
}

func logs(ctx context.Context, namespace, pod string, options corev1.PodLogOptions) (string, error) {
	stream, err := typed.CoreV1().Pods(namespace).GetLogs(pod, &options).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	return string(text), err
}
