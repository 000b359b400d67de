//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestTheOperatorHasTheRightsOfTheChartAlone looks at what really is granted in the cluster where all other tests run.
func TestTheOperatorHasTheRightsOfTheChartAlone(t *testing.T) {
	t.Parallel()
	ctx := within(t, 3*time.Minute)
	ensureOperator(ctx, t)
	var clusterBindings rbacv1.ClusterRoleBindingList
	var bindings rbacv1.RoleBindingList
	for _, list := range []client.ObjectList{&clusterBindings, &bindings} {
		if err := api.List(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	var granted []string
	for _, b := range clusterBindings.Items {
		if namesOperator(b.Subjects) {
			granted = append(granted, "ClusterRoleBinding "+b.Name)
		}
	}
	for _, b := range bindings.Items {
		if namesOperator(b.Subjects) {
			granted = append(granted, "RoleBinding "+b.Namespace+"/"+b.Name)
		}
	}
	slices.Sort(granted)
	want := []string{
		"ClusterRoleBinding wscluster-operator", "ClusterRoleBinding wscluster-operator-metrics-auth",
		"RoleBinding wscluster-system/wscluster-operator-leader-election",
	}
	if diff := cmp.Diff(want, granted); diff != "" {
		t.Errorf("what binds rights to the operator, -want +got:\n%s", diff)
	}

	for _, c := range []struct {
		verb, group, resource, subresource, namespace string
		want                                          bool
	}{
		{"patch", "apps", "deployments", "", "default", true},
		{"create", "", "secrets", "", "default", true},
		{"update", "coordination.k8s.io", "leases", "", systemNamespace, true},
		{"update", "coordination.k8s.io", "leases", "", "default", false},
		{"create", "", "pods", "", "default", false},
		{"delete", "", "pods", "", "default", false},
		{"create", "", "pods", "exec", "default", false},
		{"get", "", "nodes", "", "", false},
		{"list", "", "namespaces", "", "", false},
		{"update", "wscluster.dev", "websocketclusters", "", "default", false},
		{"delete", "wscluster.dev", "websocketclusters", "", "default", false},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", false},
		{"impersonate", "", "users", "", "", false},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + systemNamespace + ":" + operatorName,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: c.verb, Group: c.group, Resource: c.resource, Subresource: c.subresource, Namespace: c.namespace,
			},
		}}
		if err := api.Create(ctx, review); err != nil {
			t.Fatal(err)
		}
		if got := review.Status.Allowed; got != c.want {
			t.Errorf("the operator may %s %s/%s in %q: %t, want %t", c.verb, c.resource, c.subresource, c.namespace, got, c.want)
		}
	}
}

func namesOperator(subjects []rbacv1.Subject) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return s.Kind == "ServiceAccount" && s.Name == operatorName && s.Namespace == systemNamespace
	})
}

// refusals returns what the API server refused the operator, from its logs: with exactly the chart's rights and restricted
// namespaces there must be nothing. That nothing can be made in a namespace that is going is as it should be.
func refusals(ctx context.Context) ([]string, error) {
	pods, err := operatorPods(ctx)
	if err != nil {
		return nil, err
	}
	var found []string
	for i := range pods {
		text, err := podLogs(ctx, pods[i].Namespace, pods[i].Name, corev1.PodLogOptions{})
		if err != nil {
			return found, fmt.Errorf("logs of %s: %w", pods[i].Name, err)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "forbidden") && !strings.Contains(line, "being terminated") {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found, nil
}
