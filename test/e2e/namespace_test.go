//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// namespaces holds those that exist now.
var namespaces sync.Map

// newNamespace makes a namespace in which restricted Pod Security is enforced. It is removed at the end of the test, after a
// bundle was collected if the test has failed.
func newNamespace(ctx context.Context, t *testing.T, purpose string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-" + purpose + "-",
		Labels: map[string]string{
			"pod-security.kubernetes.io/enforce":         "restricted",
			"pod-security.kubernetes.io/enforce-version": "latest",
		},
	}}
	if err := api.Create(ctx, namespace); err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	name := namespace.Name
	namespaces.Store(name, nil)
	kept := keepLogs(t, name)
	t.Cleanup(func() {
		// the test's context is over
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("what is needed to understand it is in %s", collect(ctx, t.Name(), name, kept))
			if *keep {
				return
			}
		}
		namespaces.Delete(name)
		if err := removeNamespace(ctx, name); err != nil {
			t.Logf("remove namespace %s: %v", name, err)
		}
	})
	return name
}

// removeNamespace does not wait until it is gone, nor for pods to drain: its tests are over.
func removeNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := api.Delete(ctx, namespace); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// removeNamespaces removes all of them.
func removeNamespaces() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	namespaces.Range(func(name, _ any) bool {
		_ = removeNamespace(ctx, name.(string)) // the process ends, and the cluster may be gone
		return true
	})
}
