package controller

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// objectID tells the objects of one namespace apart.
type objectID struct {
	kind schema.GroupVersionKind
	name string
}

func (id objectID) String() string { return id.kind.Kind + "/" + id.name }

// write applies every object that the cluster wants, and then removes those that it no longer wants. An object that cannot be
// written does not keep the others from it; but as long as one is missing nothing is removed, for it may stand in for the missing one.
func (r *Reconciler) write(ctx context.Context, v *visit) {
	credentials, err := r.credentials(ctx, v)
	if err != nil {
		v.problems = append(v.problems, classify("credentials", err))
		return
	}
	objects, err := manifests.Build(v.cluster, r.Release, credentials)
	if err != nil {
		v.problems = append(v.problems, &writeProblem{object: "spec", reason: v1alpha1.ReasonApplyRefused, mendedBy: bySpec, err: err})
		return
	}
	wanted := make(map[objectID]bool, len(objects))
	for _, object := range objects {
		id := objectID{schema.FromAPIVersionAndKind(*object.GetAPIVersion(), *object.GetKind()), *object.GetName()}
		wanted[id] = true
		err := r.apply(ctx, v, id, object)
		if errors.Is(err, errSecretChanged) {
			v.outdated = true // what follows would be made of the old credential
			return
		}
		if err != nil {
			v.problems = append(v.problems, classify(id.String(), err))
		}
	}
	if len(v.problems) > 0 {
		return
	}
	if err := r.prune(ctx, v.cluster, wanted); err != nil {
		v.problems = append(v.problems, classify("prune", err))
	}
}

// apply makes one object what was built, unless it is that already.
func (r *Reconciler) apply(ctx context.Context, v *visit, id objectID, object manifests.Object) error {
	wanted, err := stamped(object)
	if err != nil {
		return err
	}
	live, err := r.liveObject(ctx, id, v.cluster.Namespace)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if live != nil {
		if owner, ok := isOurs(v.cluster, live); !ok {
			return &notOwnedError{owner}
		}
		upToDate, err := r.upToDate(wanted, live)
		if err != nil || upToDate {
			return err
		}
	}
	if live != nil {
		if err := v.precondition(id, wanted, live); err != nil {
			return err
		}
	}
	err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(manifests.ManagedBy), client.ForceOwnership)
	if apierrors.IsConflict(err) && wanted.GetResourceVersion() != "" {
		return errSecretChanged
	}
	if err != nil {
		return err
	}
	v.written[id] = wanted.GetGeneration() // Apply has put the answer there
	return nil
}

// liveObject returns the object as the cache has it, else as the API server has it: an object that lacks our labels is
// not in the cache. It returns nil when there is none.
func (r *Reconciler) liveObject(ctx context.Context, id objectID, namespace string) (client.Object, error) {
	key := types.NamespacedName{Namespace: namespace, Name: id.name}
	object := cachedAs(id.kind)
	err := r.Client.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		bare := &metav1.PartialObjectMetadata{}
		bare.SetGroupVersionKind(id.kind)
		object = bare
		err = r.Live.Get(ctx, key, bare)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// isOurs tells whether the object may be written: it is controlled by this cluster, or by nobody and carries our labels (what an
// orphaning delete leaves behind). Otherwise it names the owner.
func isOurs(cluster *v1alpha1.WebSocketCluster, object client.Object) (owner string, ok bool) {
	labels := object.GetLabels()
	controller := metav1.GetControllerOfNoCopy(object)
	switch {
	case controller == nil && labels[manifests.LabelManagedBy] == manifests.ManagedBy && labels[manifests.LabelInstance] == cluster.Name:
		return "", true
	case controller == nil:
		return "somebody else (it has no owner reference to this WebSocketCluster)", false
	case controller.UID == cluster.UID:
		return "", true
	case controller.Kind == v1alpha1.Kind && controller.Name == cluster.Name:
		return "an earlier WebSocketCluster of this name, whose objects are still being deleted", false
	}
	return controller.Kind + " " + controller.Name, false
}

// prune deletes the objects of this cluster that are not wanted any more.
func (r *Reconciler) prune(ctx context.Context, cluster *v1alpha1.WebSocketCluster, wanted map[objectID]bool) error {
	for _, kind := range manifests.Kinds() {
		owned, err := r.ownedObjects(ctx, cluster, kind)
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Kind, err)
		}
		for _, object := range owned {
			id := objectID{kind, object.GetName()}
			if wanted[id] || !object.GetDeletionTimestamp().IsZero() {
				continue
			}
			err := r.Client.Delete(ctx, object, client.Preconditions{UID: new(object.GetUID())},
				client.PropagationPolicy(metav1.DeletePropagationBackground))
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("delete %s: %w", id, err)
			}
		}
	}
	return nil
}

// ownedObjects lists the objects of one kind that this cluster controls.
func (r *Reconciler) ownedObjects(ctx context.Context, cluster *v1alpha1.WebSocketCluster, kind schema.GroupVersionKind) ([]client.Object, error) {
	list := cachedListAs(kind)
	if err := r.Client.List(ctx, list, client.InNamespace(cluster.Namespace),
		client.MatchingLabels{manifests.LabelInstance: cluster.Name, manifests.LabelManagedBy: manifests.ManagedBy}); err != nil {
		return nil, err
	}
	all, err := itemsOf(list)
	if err != nil {
		return nil, err
	}
	var owned []client.Object
	for _, object := range all {
		if metav1.IsControlledBy(object, cluster) {
			owned = append(owned, object)
		}
	}
	return owned, nil
}

// stamped returns the object as it goes over the wire, with an annotation that tells its contents from others.
func stamped(object manifests.Object) (*unstructured.Unstructured, error) {
	content, hash, err := wireForm(object)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	u := &unstructured.Unstructured{Object: content}
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationApplied] = hash
	u.SetAnnotations(annotations)
	return u, nil
}
