package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// diagnosis is why pods do not become ready. The zero value means that nothing is known to be wrong.
type diagnosis struct {
	reason, message string
	// needsPerson tells that waiting will not help.
	needsPerson bool
}

// severity orders diagnoses: what is likeliest to be the cause of the rest comes first.
var severity = []string{
	v1alpha1.ReasonPodRefused,
	v1alpha1.ReasonContainerConfig,
	v1alpha1.ReasonImageNotPulled,
	v1alpha1.ReasonCrashLoop,
	v1alpha1.ReasonUnschedulable,
}

// maxDetail bounds what is taken over from others' messages, in bytes; a condition's message may have 32768.
const maxDetail = 512

// diagnose looks at a workload and its pods and returns the gravest thing that is wrong, the same for the same pods
// in any order.
func diagnose(w *workload) diagnosis {
	if w == nil {
		return diagnosis{}
	}
	if w.refused != "" {
		return diagnosis{v1alpha1.ReasonPodRefused, fmt.Sprintf(
			"the API server refuses pods of %s %s: %s; raise the quota or mend the rule that it names", w.kind, w.name, detail(w.refused)), true}
	}
	var found []diagnosis
	for i := range w.pods {
		if pod := &w.pods[i]; pod.DeletionTimestamp.IsZero() {
			found = append(found, diagnosePod(pod)...)
		}
	}
	if len(found) == 0 {
		return diagnosis{}
	}
	return slices.MinFunc(found, func(a, b diagnosis) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severity, a.reason), slices.Index(severity, b.reason)),
			cmp.Compare(a.message, b.message))
	})
}

func diagnosePod(pod *corev1.Pod) []diagnosis {
	var found []diagnosis
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			// a node may come: a cluster autoscaler, an uncordon
			found = append(found, diagnosis{v1alpha1.ReasonUnschedulable, fmt.Sprintf(
				"no node takes pod %s: %s; add a node, or lower the requests or constraints in the spec", pod.Name, detail(condition.Message)), false})
		}
	}
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if waiting := status.State.Waiting; waiting != nil {
			found = append(found, diagnoseWaiting(pod, status, waiting)...)
		}
	}
	return found
}

func diagnoseWaiting(pod *corev1.Pod, status *corev1.ContainerStatus, waiting *corev1.ContainerStateWaiting) []diagnosis {
	switch waiting.Reason {
	case "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return []diagnosis{{v1alpha1.ReasonImageNotPulled, fmt.Sprintf("pod %s cannot get the image %s (%s); check %s and spec.imagePullSecrets",
			pod.Name, imageOf(pod, status.Name), waiting.Reason, imageField(status.Name)), true}}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return []diagnosis{{v1alpha1.ReasonContainerConfig, fmt.Sprintf("container %s of pod %s cannot start: %s",
			status.Name, pod.Name, detail(waiting.Message)), true}}
	case "CrashLoopBackOff":
		return []diagnosis{{v1alpha1.ReasonCrashLoop, fmt.Sprintf("container %s of pod %s ends again and again%s; see kubectl logs -n %s %s --previous",
			status.Name, pod.Name, lastEnd(status), pod.Namespace, pod.Name), true}}
	}
	return nil
}

// lastEnd says how a container ended the last time. It leaves out the number of restarts, which would change the message, and
// with it the status, at every one of them.
func lastEnd(status *corev1.ContainerStatus) string {
	last := status.LastTerminationState.Terminated
	switch {
	case last == nil:
		return ""
	case last.Reason == "OOMKilled":
		return ", killed since it used more memory than its limit: raise the memory limit"
	case last.Message != "":
		return fmt.Sprintf(", with exit code %d: %s", last.ExitCode, detail(last.Message))
	}
	return fmt.Sprintf(", with exit code %d", last.ExitCode)
}

func imageField(container string) string {
	if container == manifests.RedisContainer {
		return "spec.redis.standalone.image"
	}
	return "spec.image"
}

func imageOf(pod *corev1.Pod, container string) string {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == container {
			return pod.Spec.Containers[i].Image
		}
	}
	return ""
}

// detail shortens somebody else's message to one line that fits.
func detail(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	return strings.TrimRight(shorten(message, maxDetail), ".;")
}

// shorten cuts a text after at most n bytes, between two characters.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:n-len(mark)], "") + mark
}
