package controller

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/api/v1alpha1/validation"
)

// Each file of testdata/refused starts with "# want: " and the sentence with which it must be refused: by the API server,
// and, without one, by the validation that wsc run uses.
func TestABadObjectIsRefusedWithAHelpfulSentence(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d bad objects, %v; want at least 25", len(files), err)
	}
	namespace := newNamespace(t)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(string(text), "\n")
			want, found := strings.CutPrefix(want, "# want: ")
			if !found {
				t.Fatalf("%s does not start with # want:", path)
			}

			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(text, &object.Object); err != nil {
				t.Fatal(err)
			}
			object.SetNamespace(namespace)
			// kubectl apply asks for strict field validation, too
			err = api.Create(t.Context(), object, client.FieldValidation(metav1.FieldValidationStrict))
			if err == nil {
				t.Fatalf("the API server takes it:\n%s", text)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the API server says\n  %v\nwant\n  %s", err, want)
			}

			_, err = validation.Load(bytes.NewReader(text))
			if err == nil {
				t.Fatalf("without an API server it is taken:\n%s", text)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("without an API server it says\n  %v\nwant\n  %s", err, want)
			}
		})
	}
}

func TestStorageCannotBeChangedInPlace(t *testing.T) {
	cluster := create(t, newNamespace(t), "redis: {standalone: {storage: {size: 1Gi, storageClassName: fast}}}")
	edits := map[string]func(*v1alpha1.Storage){
		"size":                       func(s *v1alpha1.Storage) { s.Size.Set(2 << 30) },
		"storage class":              func(s *v1alpha1.Storage) { s.StorageClassName = new("slow") },
		"storage class, taken away":  func(s *v1alpha1.Storage) { s.StorageClassName = nil },
		"size, written as other 1Gi": func(s *v1alpha1.Storage) { s.Size.Set(1<<30 + 1) },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			refresh(t, cluster)
			edit(cluster.Spec.Redis.Standalone.Storage)
			err := api.Update(t.Context(), cluster)
			if err == nil || !strings.Contains(err.Error(), "storage.size and storage.storageClassName cannot be changed") {
				t.Errorf("the API server says %v; want that these cannot be changed", err)
			}
		})
	}
	refresh(t, cluster)
	cluster.Spec.Redis.Standalone.Storage.OnDelete = v1alpha1.OnDeleteDelete
	if err := api.Update(t.Context(), cluster); err != nil {
		t.Errorf("onDelete cannot be changed: %v", err)
	}
}
