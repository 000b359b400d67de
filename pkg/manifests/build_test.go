package manifests

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/api/v1alpha1/validation"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

var testRelease = Release{GatewayImage: "example.com/gateway:v0", RedisImage: "example.com/redis:v0"}

// load reads a WebSocketCluster of testdata, with the defaults of the schema.
func load(t *testing.T, path string) *v1alpha1.WebSocketCluster {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cluster, err := validation.Load(file)
	if err != nil {
		t.Fatalf("%s is not a valid WebSocketCluster: %v", path, err)
	}
	cluster.UID = "11111111-2222-3333-4444-555555555555"
	return cluster
}

// credentialsFor fills every slot that the cluster needs with a value that is easy to recognise.
func credentialsFor(cluster *v1alpha1.WebSocketCluster) Credentials {
	var credentials Credentials
	for _, slot := range NeededCredentials(cluster, &credentials) {
		*slot.Value = "credential of " + slot.SecretName
	}
	return credentials
}

func build(t *testing.T, cluster *v1alpha1.WebSocketCluster) []Object {
	t.Helper()
	objects, err := Build(cluster, testRelease, credentialsFor(cluster))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestBuildMatchesTheGoldenFiles compares everything that is built from testdata/NAME.in.yaml with testdata/NAME.out.yaml.
func TestBuildMatchesTheGoldenFiles(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs in testdata: %v", err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			got := render(t, build(t, load(t, input)))
			golden := filepath.Join("testdata", name+".out.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; write it with go test ./pkg/manifests -update", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("objects differ from %s (-want +got), rewrite it with -update if that is meant:\n%s", golden, diff)
			}
		})
	}
}

func render(t *testing.T, objects []Object) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes()
}

func TestEveryObjectIsOfAListedKindAndCarriesItsOwner(t *testing.T) {
	inputs, _ := filepath.Glob("testdata/*.in.yaml")
	seen := map[schema.GroupVersionKind]bool{}
	for _, input := range inputs {
		cluster := load(t, input)
		names := map[string]bool{}
		for _, object := range build(t, cluster) {
			kind := schema.FromAPIVersionAndKind(*object.GetAPIVersion(), *object.GetKind())
			seen[kind] = true
			id := kind.Kind + "/" + *object.GetName()
			if names[id] {
				t.Errorf("%s: %s is built twice", input, id)
			}
			names[id] = true
			if !slices.Contains(Kinds(), kind) {
				t.Errorf("%s: %s is built, but Kinds does not list it, so it would never be pruned", input, kind)
			}
			checkOwnerAndLabels(t, cluster, id, object)
		}
	}
	for _, kind := range Kinds() {
		if !seen[kind] {
			t.Errorf("Kinds lists %s, but no input of testdata makes one", kind)
		}
	}
}

func checkOwnerAndLabels(t *testing.T, cluster *v1alpha1.WebSocketCluster, id string, object Object) {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata struct {
			Namespace       string
			Labels          map[string]string
			OwnerReferences []struct {
				UID        string
				Controller bool
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	owners := got.Metadata.OwnerReferences
	if len(owners) != 1 || owners[0].UID != string(cluster.UID) || !owners[0].Controller {
		t.Errorf("%s: owner references are %+v; want the WebSocketCluster as the only controller", id, owners)
	}
	if got.Metadata.Namespace != cluster.Namespace {
		t.Errorf("%s: namespace is %q, want %q", id, got.Metadata.Namespace, cluster.Namespace)
	}
	if got.Metadata.Labels[LabelInstance] != cluster.Name || got.Metadata.Labels[LabelManagedBy] != ManagedBy {
		t.Errorf("%s: labels are %v; instance and managed-by are how it is found", id, got.Metadata.Labels)
	}
}
