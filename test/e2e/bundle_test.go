//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// collect writes what is needed to understand a failure into a folder and returns its path: objects, events and logs of the
// namespace, the operator's logs, and the state of the nodes. What cannot be had is said in its place. logs holds the logs of all
// pods that there were.
func collect(ctx context.Context, test, namespace, logs string) string {
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
	if err := os.CopyFS(filepath.Join(folder, "logs"), os.DirFS(logs)); err != nil {
		write("logs.txt", "", err)
	}
	pods, err := operatorPods(ctx)
	if err != nil {
		write("operator.log", "", err)
	}
	for i := range pods {
		text, err := podLogs(ctx, pods[i].Namespace, pods[i].Name, corev1.PodLogOptions{})
		write(pods[i].Name+".log", text, err)
		if text, err = podLogs(ctx, pods[i].Namespace, pods[i].Name, corev1.PodLogOptions{Previous: true}); err == nil {
			write(pods[i].Name+"-previous.log", text, nil)
		}
	}
	return folder
}

func podLogs(ctx context.Context, namespace, pod string, options corev1.PodLogOptions) (string, error) {
	stream, err := typed.CoreV1().Pods(namespace).GetLogs(pod, &options).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	return string(text), err
}
