package controller

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// Name is the controller's name in logs, metrics and events.
const Name = "wscluster.dev/operator"

// concurrency is how many WebSocketClusters are looked after at once; most of a visit is waiting for the API server.
const concurrency = 4

// NewScheme returns a scheme with every type that the controller reads or writes.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// CacheOptions bounds what the manager caches: objects that carry our label, and of those without what nobody reads.
// Namespaces lists the namespaces to watch; none means all.
func CacheOptions(namespaces []string) cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{manifests.LabelManagedBy: manifests.ManagedBy})}
	options := cache.Options{ByObject: map[client.Object]cache.ByObject{}}
	for _, kind := range manifests.Kinds() {
		options.ByObject[cachedAs(kind)] = ours
	}
	pods := ours
	// a thousand pods are a thousand managed fields that nobody reads
	pods.Transform = cache.TransformStripManagedFields()
	options.ByObject[&corev1.Pod{}] = pods
	if len(namespaces) > 0 {
		options.DefaultNamespaces = make(map[string]cache.Config, len(namespaces))
		for _, namespace := range namespaces {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

// SetupWithManager starts watching. A WebSocketCluster is looked at when its spec changes, when an object that it owns changes
// in any way, when one of its pods changes in a way that the status speaks of, and when its gateways say something new. Its own status writes lead to nothing.
func (r *Reconciler) SetupWithManager(manager ctrl.Manager) error {
	r.types = applyconfigurations.NewTypeConverter(manager.GetScheme())
	r.fleet = newFleetWatch(r.Client, cmp.Or(r.fleetTiming, fleetTiming{fleetInterval, countsPause}))
	if err := manager.Add(r.fleet); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(manager).
		Named("websocketcluster").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		For(&v1alpha1.WebSocketCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	for _, kind := range manifests.Kinds() {
		object := cachedAs(kind)
		if _, bare := object.(*metav1.PartialObjectMetadata); bare {
			b = b.Owns(object, builder.OnlyMetadata)
			continue
		}
		b = b.Owns(object)
	}
	return b.
		WatchesRawSource(source.Channel(r.fleet.news, &handler.EnqueueRequestForObject{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOfPod), builder.WithPredicates(podChanges)).
		Complete(r)
}

// clusterOfPod finds the cluster by label: a pod is owned by a ReplicaSet, not by the cluster.
func clusterOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[manifests.LabelInstance]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

// podChanges lets only such changes of a pod pass as diagnose looks at. How many are ready the Deployment says.
var podChanges = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return true },
	DeleteFunc: func(event.DeleteEvent) bool { return true },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Pod)
		after, alsoOK := e.ObjectNew.(*corev1.Pod)
		return !ok || !alsoOK || before.Status.Phase != after.Status.Phase ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			!slices.Equal(diagnosePod(before), diagnosePod(after))
	},
	GenericFunc: func(event.GenericEvent) bool { return false },
}
