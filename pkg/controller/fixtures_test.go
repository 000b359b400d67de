package controller

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// create makes a WebSocketCluster named chat with a spec in YAML, and waits until the operator has reported on it once.
func create(t *testing.T, namespace, spec string) *v1alpha1.WebSocketCluster {
	t.Helper()
	cluster := &v1alpha1.WebSocketCluster{ObjectMeta: metav1.ObjectMeta{Name: "chat", Namespace: namespace}}
	if err := yaml.UnmarshalStrict([]byte(spec), &cluster.Spec); err != nil {
		t.Fatal(err)
	}
	if err := api.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	waitReported(t, cluster)
	return cluster
}

// change edits the spec and waits until the operator has reported on it.
func change(t *testing.T, cluster *v1alpha1.WebSocketCluster, edit func(*v1alpha1.WebSocketClusterSpec)) {
	t.Helper()
	refresh(t, cluster)
	before := cluster.DeepCopy()
	edit(&cluster.Spec)
	if err := api.Patch(t.Context(), cluster, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	waitReported(t, cluster)
}

func refresh(t *testing.T, object client.Object) {
	t.Helper()
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
}

func waitReported(t *testing.T, cluster *v1alpha1.WebSocketCluster) {
	t.Helper()
	eventually(t, "the operator reports", func() string {
		refresh(t, cluster)
		if cluster.Status.ObservedGeneration != cluster.Generation {
			return fmt.Sprintf("observedGeneration is %d, generation is %d", cluster.Status.ObservedGeneration, cluster.Generation)
		}
		return ""
	})
}

// waitCondition waits until a condition has a status and a reason, and returns its message.
func waitCondition(t *testing.T, cluster *v1alpha1.WebSocketCluster, kind string, status metav1.ConditionStatus, reason string) string {
	t.Helper()
	message := ""
	eventually(t, fmt.Sprintf("condition %s is %s because %s", kind, status, reason), func() string {
		refresh(t, cluster)
		condition := meta.FindStatusCondition(cluster.Status.Conditions, kind)
		if condition == nil {
			return "there is no such condition"
		}
		if condition.Status != status || condition.Reason != reason {
			return fmt.Sprintf("it is %s because %s: %s", condition.Status, condition.Reason, condition.Message)
		}
		message = condition.Message
		return ""
	})
	return message
}

// reconciled runs one more reconciliation to its end, after the cache has seen what was written before.
func reconciled(t *testing.T, cluster *v1alpha1.WebSocketCluster) {
	t.Helper()
	if _, err := operator.Reconcile(t.Context(), requestFor(cluster)); err != nil {
		t.Fatalf("reconcile: %v", err)
	}
}

// ownedNow lists Kind/name of everything in the namespace that the cluster controls.
func ownedNow(t *testing.T, cluster *v1alpha1.WebSocketCluster) map[string]client.Object {
	t.Helper()
	owned := map[string]client.Object{}
	for _, kind := range manifests.Kinds() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := api.List(t.Context(), list, client.InNamespace(cluster.Namespace)); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			object.SetGroupVersionKind(kind)
			if metav1.IsControlledBy(object, cluster) {
				owned[kind.Kind+"/"+object.Name] = object
			}
		}
	}
	return owned
}

// setDeployment writes the status that the deployment controller would write.
func setDeployment(t *testing.T, namespace, name string, edit func(*appsv1.DeploymentStatus)) {
	t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	refresh(t, deployment)
	deployment.Status.ObservedGeneration = deployment.Generation
	edit(&deployment.Status)
	if err := api.Status().Update(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
}

// allReady writes the status of a Deployment whose pods are all new and ready.
func allReady(t *testing.T, namespace, name string) {
	t.Helper()
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	refresh(t, deployment)
	n := ptr.Deref(deployment.Spec.Replicas, 1)
	setDeployment(t, namespace, name, func(status *appsv1.DeploymentStatus) {
		status.Replicas, status.ReadyReplicas, status.UpdatedReplicas, status.AvailableReplicas = n, n, n, n
	})
}

// makePod makes a pod of a component with the container statuses that a kubelet would write.
func makePod(t *testing.T, cluster *v1alpha1.WebSocketCluster, name, component string, status corev1.PodStatus) {
	t.Helper()
	labels := manifests.Selector(cluster, component)
	labels[manifests.LabelManagedBy] = manifests.ManagedBy
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: component, Image: "example.com/" + component + ":test"}}},
	}
	if err := api.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	pod.Status = status
	if err := api.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

func waitingPod(component, reason, message string) corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodPending,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: component, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}},
	}
}

// kubectl runs the real kubectl and returns what it prints.
func kubectl(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+t.TempDir())
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func requestFor(cluster *v1alpha1.WebSocketCluster) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster)}
}
