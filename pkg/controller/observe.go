package controller

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// observation is everything that the status is computed from, apart from the spec. What was not found is nil.
type observation struct {
	gateway *workload
	redis   *workload
	// publicService tells where a load balancer listens.
	publicService *corev1.Service
	autoscaler    *autoscalingv2.HorizontalPodAutoscaler
	// fleet is what the gateways say of themselves; it may be some seconds old.
	fleet fleetView
	// missingSecrets are sentences on Secrets that the spec names and that are not there.
	missingSecrets []string
	// err is what could not be read; the rest holds nevertheless.
	err error
}

// workload is a Deployment or StatefulSet with its pods.
type workload struct {
	// kind and name are for messages.
	kind, name string
	// current tells whether its controller has seen its newest spec, also one that this visit wrote and the cache does not show yet.
	current bool
	// desired, replicas, ready and updated are numbers of pods; replicas counts old and new ones.
	desired, replicas, ready, updated int32
	// refused is why pods cannot be made, in the API server's words; empty while they can.
	refused string
	pods    []corev1.Pod
}

// complete tells whether every wanted pod is there, ready and new, and no old one is left.
func (w *workload) complete() bool {
	return w.current && w.replicas == w.desired && w.ready == w.desired && w.updated == w.desired
}

// observe reads what the status speaks of. Everything but the Secrets that the spec names comes from the cache.
func (r *Reconciler) observe(ctx context.Context, v *visit) {
	cluster, seen := v.cluster, &v.seen
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("observe %s: %w", what, err))
		}
	}
	var err error
	seen.gateway, err = r.deployment(ctx, v, manifests.GatewayName(cluster), manifests.ComponentGateway)
	note("the gateways", err)
	if seen.gateway != nil {
		// the Deployment follows, and the cache after it: neither may speak of the number that was wanted before
		seen.gateway.desired = ptr.Deref(cluster.Spec.Replicas, seen.gateway.desired)
	}
	seen.redis, err = r.redisWorkload(ctx, v)
	note("Redis", err)
	seen.publicService, err = get[corev1.Service](ctx, r.Client, cluster.Namespace, manifests.PublicServiceName(cluster))
	note("the Service", err)
	if cluster.Spec.Autoscaling != nil {
		seen.autoscaler, err = get[autoscalingv2.HorizontalPodAutoscaler](ctx, r.Client, cluster.Namespace, manifests.GatewayName(cluster))
		note("the HorizontalPodAutoscaler", err)
	}
	seen.fleet = r.fleet.view(client.ObjectKeyFromObject(cluster))
	seen.missingSecrets, err = r.missingSecrets(ctx, cluster)
	note("the Secrets that the spec names", err)
	seen.err = errors.Join(errs...)
}

func (r *Reconciler) redisWorkload(ctx context.Context, v *visit) (*workload, error) {
	switch redis := v.cluster.Spec.Redis; {
	case redis.Type != v1alpha1.RedisStandalone:
		return nil, nil
	case redis.Standalone != nil && redis.Standalone.Storage != nil:
		return r.statefulSet(ctx, v, manifests.RedisName(v.cluster), manifests.ComponentRedis)
	}
	return r.deployment(ctx, v, manifests.RedisName(v.cluster), manifests.ComponentRedis)
}

func (r *Reconciler) deployment(ctx context.Context, v *visit, name, component string) (*workload, error) {
	d, err := get[appsv1.Deployment](ctx, r.Client, v.cluster.Namespace, name)
	if d == nil || err != nil {
		return nil, err
	}
	w := &workload{
		kind: "Deployment", name: name,
		current: d.Status.ObservedGeneration >= max(d.Generation, v.written[objectID{appsv1.SchemeGroupVersion.WithKind("Deployment"), name}]),
		desired: ptr.Deref(d.Spec.Replicas, 1), replicas: d.Status.Replicas,
		ready: d.Status.ReadyReplicas, updated: d.Status.UpdatedReplicas,
	}
	for _, condition := range d.Status.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			w.refused = condition.Message
		}
	}
	w.pods, err = r.pods(ctx, v.cluster, component)
	return w, err
}

func (r *Reconciler) statefulSet(ctx context.Context, v *visit, name, component string) (*workload, error) {
	s, err := get[appsv1.StatefulSet](ctx, r.Client, v.cluster.Namespace, name)
	if s == nil || err != nil {
		return nil, err
	}
	w := &workload{
		kind: "StatefulSet", name: name,
		current: s.Status.ObservedGeneration >= max(s.Generation, v.written[objectID{appsv1.SchemeGroupVersion.WithKind("StatefulSet"), name}]),
		desired: ptr.Deref(s.Spec.Replicas, 1), replicas: s.Status.Replicas,
		ready: s.Status.ReadyReplicas, updated: s.Status.UpdatedReplicas,
	}
	w.pods, err = r.pods(ctx, v.cluster, component)
	return w, err
}

func (r *Reconciler) pods(ctx context.Context, cluster *v1alpha1.WebSocketCluster, component string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := r.Client.List(ctx, &list, client.InNamespace(cluster.Namespace),
		client.MatchingLabels(manifests.Selector(cluster, component)))
	return list.Items, err
}

// missingSecrets reads the Secrets that the spec names from the API server: the operator does not cache other people's Secrets.
func (r *Reconciler) missingSecrets(ctx context.Context, cluster *v1alpha1.WebSocketCluster) ([]string, error) {
	var missing []string
	for _, ref := range manifests.ReferencedSecrets(cluster) {
		secret := &corev1.Secret{}
		err := r.Live.Get(ctx, types.NamespacedName{Namespace: cluster.Namespace, Name: ref.Name}, secret)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, fmt.Sprintf("Secret %s with the entry %s is not in namespace %s; create it", ref.Name, ref.Key, cluster.Namespace))
		case err != nil:
			return missing, err
		case len(secret.Data[ref.Key]) == 0:
			missing = append(missing, fmt.Sprintf("Secret %s has no entry %s; add it", ref.Name, ref.Key))
		}
	}
	return missing, nil
}

// get returns nil when there is no such object.
func get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, reader client.Reader, namespace, name string) (P, error) {
	object := P(new(T))
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}
