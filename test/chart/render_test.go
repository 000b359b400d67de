//go:build chart

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestTheChartLints(t *testing.T) {
	if _, err := helm(t, "lint", "--strict", chartPath); err != nil {
		t.Error(err)
	}
}

// Each object goes to a real API server, which fills in defaults, validates, and refuses fields that it does not know.
func TestTheAPIServerTakesEveryObject(t *testing.T) {
	for name, values := range map[string][]string{
		"defaults":             nil,
		"everything on":        {"-f", "testdata/everything.yaml"},
		"two namespaces":       {"--set", "watchNamespaces={team-a,team-b}"},
		"nothing that is ours": {"--set", "crds.enabled=false,rbac.create=false,serviceAccount.create=false,metrics.enabled=false"},
		"images by digest":     {"--set", "images.operator.digest=sha256:" + strings.Repeat("0a", 32)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ns := range []string{namespace, "team-a", "team-b"} {
				createNamespace(t, ns)
			}
			objects := render(t, values...)
			if find(objects, "Deployment", "wscluster-operator") == nil {
				t.Fatal("there is no Deployment wscluster-operator")
			}
			for _, object := range objects {
				if object.GetKind() == "ServiceMonitor" {
					continue // of an API that is not ours; TestServiceMonitorPointsAtTheMetricsPort looks at it
				}
				if err := dryRun(t, object); err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

func TestUnknownAndWrongValuesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ set, want string }{
		"a misspelt key":           {"metric.enabled=true", "additional properties 'metric' not allowed"},
		"a misspelt key inside":    {"crds.kept=true", "additional properties 'kept' not allowed"},
		"a misspelt key of images": {"images.gateway.version=v1", "additional properties 'version' not allowed"},
		"a log level":              {"logLevel=loud", "value must be one of 'debug', 'info', 'warn', 'error'"},
		"text for a number":        {"replicas=two", "got string, want integer"},
		"a namespace":              {"watchNamespaces={Team_A}", "does not match pattern"},
		"one namespace twice":      {"watchNamespaces={a,a}", "items at 0 and 1 are equal"},
		"a digest":                 {"images.operator.digest=sha256:12", "does not match pattern"},
		"a pull policy":            {"images.operator.pullPolicy=Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm(t, "template", release, chartPath, "--set", c.set)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("helm template --set %s: %v; want an error with %q", c.set, err, c.want)
			}
		})
	}
}

func TestTheCRDIsPartOfTheReleaseAndKept(t *testing.T) {
	const crd = "websocketclusters.wscluster.dev"
	const policy = "helm.sh/resource-policy"
	if found := find(render(t), "CustomResourceDefinition", crd); found == nil || found.GetAnnotations()[policy] != "keep" {
		t.Errorf("by default the CRD must be there and be kept, got %v", found)
	}
	if found := find(render(t, "--set", "crds.keep=false"), "CustomResourceDefinition", crd); found == nil || found.GetAnnotations()[policy] != "" {
		t.Errorf("with crds.keep=false the CRD must be there and not be kept, got %v", found)
	}
	if found := find(render(t, "--set", "crds.enabled=false"), "CustomResourceDefinition", crd); found != nil {
		t.Error("with crds.enabled=false there must be no CRD")
	}
}

// The operator of two namespaces may do there what the operator of all namespaces may do everywhere, and nothing elsewhere.
func TestWatchedNamespacesAreTheOnlyOnesWithRights(t *testing.T) {
	everywhere := render(t)
	narrow := render(t, "--set", "watchNamespaces={team-a,team-b}")

	wide := find(everywhere, "ClusterRole", "wscluster-operator")
	if wide == nil {
		t.Fatal("without watchNamespaces there must be a ClusterRole wscluster-operator")
	}
	var namespaces []string
	for _, object := range narrow {
		switch object.GetKind() {
		case "Role":
			if object.GetName() != "wscluster-operator" {
				continue
			}
			namespaces = append(namespaces, object.GetNamespace())
			if diff := cmp.Diff(wide.Object["rules"], object.Object["rules"]); diff != "" {
				t.Errorf("rules of the Role in %s (-ClusterRole +Role):\n%s", object.GetNamespace(), diff)
			}
		case "ClusterRoleBinding":
			if role, _, _ := unstructured.NestedString(object.Object, "roleRef", "name"); role != "wscluster-operator-metrics-auth" {
				t.Errorf("the operator is bound to %s in all namespaces", role)
			}
		}
	}
	slices.Sort(namespaces)
	if diff := cmp.Diff([]string{"team-a", "team-b"}, namespaces); diff != "" {
		t.Errorf("namespaces with a Role (-want +got):\n%s", diff)
	}
	if arguments := argumentsOf(operatorContainer(t, narrow)); !slices.Contains(arguments, "--watch-namespaces=team-a,team-b") {
		t.Errorf("the operator's arguments %q do not name the namespaces", arguments)
	}
}

func TestImagesReachTheOperator(t *testing.T) {
	objects := render(t, "--set-string", "images.gateway.repository=example.com/gw,images.gateway.tag=v7,images.redis.repository=example.com/redis,images.redis.tag=9")
	got := map[string]any{}
	for _, variable := range operatorContainer(t, objects)["env"].([]any) {
		variable := variable.(map[string]any)
		got[variable["name"].(string)] = variable["value"]
	}
	want := map[string]any{"RELATED_IMAGE_GATEWAY": "example.com/gw:v7", "RELATED_IMAGE_REDIS": "example.com/redis:9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images in the operator's environment (-want +got):\n%s", diff)
	}
}

func TestServiceMonitorPointsAtTheMetricsPort(t *testing.T) {
	objects := render(t, "--set", "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus")
	monitor := find(objects, "ServiceMonitor", "wscluster-operator")
	service := find(objects, "Service", "wscluster-operator-metrics")
	if monitor == nil || service == nil {
		t.Fatal("there must be a ServiceMonitor and a Service")
	}
	if monitor.GetLabels()["release"] != "prometheus" {
		t.Errorf("labels of the ServiceMonitor: %v", monitor.GetLabels())
	}
	wanted, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	for key, value := range wanted {
		if service.GetLabels()[key] != value {
			t.Errorf("the ServiceMonitor selects %s=%s, which the Service does not have", key, value)
		}
	}
	port := firstOf(t, monitor, "spec", "endpoints")["port"]
	if name := firstOf(t, service, "spec", "ports")["name"]; name != port {
		t.Errorf("the ServiceMonitor wants the port %v, the Service has %v", port, name)
	}
}

// firstOf returns the first element of a list of maps.
func firstOf(t *testing.T, object *unstructured.Unstructured, path ...string) map[string]any {
	t.Helper()
	list, _, err := unstructured.NestedSlice(object.Object, path...)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s %s has no %s: %v", object.GetKind(), object.GetName(), strings.Join(path, "."), err)
	}
	return list[0].(map[string]any)
}

func operatorContainer(t *testing.T, objects []*unstructured.Unstructured) map[string]any {
	t.Helper()
	deployment := find(objects, "Deployment", "wscluster-operator")
	if deployment == nil {
		t.Fatal("there is no Deployment wscluster-operator")
	}
	return firstOf(t, deployment, "spec", "template", "spec", "containers")
}

func argumentsOf(container map[string]any) []string {
	var arguments []string
	for _, a := range container["args"].([]any) {
		arguments = append(arguments, a.(string))
	}
	return arguments
}
