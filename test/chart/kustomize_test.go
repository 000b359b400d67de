//go:build chart

package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Both go through the API server's defaults first, so that they may be written differently and must mean the same.
func TestTheChartAndConfigDefaultMeanTheSame(t *testing.T) {
	command := exec.CommandContext(t.Context(), os.Getenv("KUSTOMIZE"), "build", filepath.Join(root, "config", "default"))
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("kustomize build config/default: %v", err)
	}
	createNamespace(t, namespace)
	fromKustomize := meaning(t, parse(t, string(out)))
	fromChart := meaning(t, render(t))
	if len(fromChart) == 0 {
		t.Fatal("the chart renders nothing")
	}
	for key, object := range fromKustomize {
		if diff := cmp.Diff(object, fromChart[key]); diff != "" {
			t.Errorf("%s (-config/default +chart):\n%s", key, diff)
		}
		delete(fromChart, key)
	}
	for key := range fromChart {
		t.Errorf("%s is in the chart only", key)
	}
}

// meaning returns the objects as the API server would store them, by kind and name, without what is rightly different:
// the namespace, which helm makes itself or not at all, the test hooks, and the labels and annotations that belong to helm.
func meaning(t *testing.T, objects []*unstructured.Unstructured) map[string]any {
	t.Helper()
	meanings := map[string]any{}
	for _, object := range objects {
		if object.GetKind() == "Namespace" || object.GetAnnotations()["helm.sh/hook"] != "" {
			continue
		}
		key := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, "/")
		if err := dryRun(t, object); err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		remove := func(fields ...string) { unstructured.RemoveNestedField(object.Object, fields...) }
		for _, field := range []string{"uid", "creationTimestamp", "managedFields", "resourceVersion", "generation"} {
			remove("metadata", field)
		}
		remove("metadata", "labels", "helm.sh/chart")
		remove("metadata", "labels", "app.kubernetes.io/managed-by")
		remove("metadata", "labels", "app.kubernetes.io/version")
		remove("metadata", "annotations", "helm.sh/resource-policy")
		remove("status")
		if object.GetKind() == "Service" { // given out by the server
			remove("spec", "clusterIP")
			remove("spec", "clusterIPs")
		}
		meanings[key] = object.Object
	}
	return meanings
}
