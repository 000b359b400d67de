package controller

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/wscluster/wscluster/pkg/manifests"
)

// annotationApplied holds a hash of what the operator applied last.
const annotationApplied = "wscluster.dev/applied"

// neverManaged are the fields that the API server leaves out when it notes who manages what (apimachinery,
// util/managedfields/internal/stripmeta.go).
var neverManaged = fieldpath.NewSet(
	fieldpath.MakePathOrDie("apiVersion"),
	fieldpath.MakePathOrDie("kind"),
	fieldpath.MakePathOrDie("metadata"),
	fieldpath.MakePathOrDie("metadata", "name"),
	fieldpath.MakePathOrDie("metadata", "namespace"),
)

// upToDate tells whether applying wanted would change nothing, without asking the API server. Two things together say so:
// the live object was applied from the same contents (its hash), and our field manager still holds every field that it set then.
// Whoever changes or removes a field of ours takes it away from our field manager, so no edit is overlooked; what others
// set beside our fields does not count. Should this answer be no without need, one apply that changes nothing follows.
func (r *Reconciler) upToDate(wanted *unstructured.Unstructured, live client.Object) (bool, error) {
	if live.GetAnnotations()[annotationApplied] != wanted.GetAnnotations()[annotationApplied] {
		return false, nil
	}
	held, ok, err := heldFields(live)
	if err != nil || !ok {
		return false, err
	}
	typed, err := r.types.ObjectToTyped(wanted)
	if err != nil {
		return false, fmt.Errorf("read the fields of %s: %w", wanted.GetKind(), err)
	}
	set, err := typed.ToFieldSet()
	if err != nil {
		return false, fmt.Errorf("read the fields of %s: %w", wanted.GetKind(), err)
	}
	return set.Difference(neverManaged).Equals(held), nil
}

// heldFields returns the fields that our field manager holds by apply.
func heldFields(live client.Object) (*fieldpath.Set, bool, error) {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != manifests.ManagedBy || entry.Operation != metav1.ManagedFieldsOperationApply ||
			entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		held := &fieldpath.Set{}
		if err := held.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			return nil, false, fmt.Errorf("read the managed fields of %s: %w", live.GetName(), err)
		}
		return held, true, nil
	}
	return nil, false, nil
}

// wireForm encodes an object and hashes the encoding, which is the same for the same contents.
func wireForm(object manifests.Object) (map[string]any, string, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, "", err
	}
	var content map[string]any
	if err := utiljson.Unmarshal(text, &content); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(text)
	return content, hex.EncodeToString(sum[:16]), nil
}
