package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/pkg/manifests"
)

// credentials returns what the Secrets of the cluster hold, and new random values for what they do not hold yet. So a value
// is made once and kept, and one that somebody puts in its place is taken over. The versions of the Secrets that were read are
// noted: only these may be written over.
func (r *Reconciler) credentials(ctx context.Context, v *visit) (manifests.Credentials, error) {
	var found manifests.Credentials
	for _, slot := range manifests.NeededCredentials(v.cluster, &found) {
		secret, err := r.secret(ctx, types.NamespacedName{Namespace: v.cluster.Namespace, Name: slot.SecretName})
		if err != nil {
			return manifests.Credentials{}, fmt.Errorf("read Secret %s: %w", slot.SecretName, err)
		}
		v.secretVersions[slot.SecretName] = secret.ResourceVersion
		*slot.Value = string(secret.Data[slot.Key])
		if *slot.Value == "" {
			// 26 letters and digits, 130 bits
			*slot.Value = rand.Text()
		}
	}
	return found, nil
}

// errSecretChanged says that a Secret is not any more what its credential was read from: somebody has just put another one there.
var errSecretChanged = errors.New("the Secret was changed meanwhile")

// precondition has the apply of a Secret refused unless it is still what its credential was read from.
func (v *visit) precondition(id objectID, wanted *unstructured.Unstructured, live client.Object) error {
	version, read := v.secretVersions[id.name]
	if !read || id.kind.Kind != "Secret" {
		return nil
	}
	if live.GetResourceVersion() != version {
		return errSecretChanged
	}
	wanted.SetResourceVersion(version)
	return nil
}

// secret returns an empty Secret when there is none. A Secret that the cache does not have is looked up in the API server:
// one that was made a moment ago must not be made anew with another value.
func (r *Reconciler) secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, secret)
	}
	return secret, client.IgnoreNotFound(err)
}
