package controller

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// chatObjects is everything that the sample chat.yaml comes to.
var chatObjects = []string{
	"ConfigMap/chat-gateway", "ConfigMap/chat-redis",
	"Deployment/chat-gateway", "Deployment/chat-redis",
	"NetworkPolicy/chat-gateway", "NetworkPolicy/chat-redis",
	"PodDisruptionBudget/chat-gateway",
	"Secret/chat-api-key", "Secret/chat-ops", "Secret/chat-redis",
	"Service/chat", "Service/chat-api", "Service/chat-ops", "Service/chat-redis",
	"ServiceAccount/chat-gateway",
}

func waitOwned(t *testing.T, cluster *v1alpha1.WebSocketCluster, want []string) map[string]client.Object {
	t.Helper()
	var owned map[string]client.Object
	eventually(t, "the operator makes exactly the objects that are wanted", func() string {
		owned = ownedNow(t, cluster)
		return cmp.Diff(want, slices.Sorted(maps.Keys(owned)))
	})
	return owned
}

// waitCached waits until the manager's cache has seen the newest version of every object that the cluster controls.
func waitCached(t *testing.T, cluster *v1alpha1.WebSocketCluster) {
	t.Helper()
	eventually(t, "the cache is up to date", func() string {
		for id, object := range ownedNow(t, cluster) {
			cached := cachedAs(object.GetObjectKind().GroupVersionKind())
			if err := operator.Client.Get(t.Context(), client.ObjectKeyFromObject(object), cached); err != nil {
				return err.Error()
			}
			if cached.GetResourceVersion() != object.GetResourceVersion() {
				return id + " is older in the cache"
			}
		}
		return ""
	})
}

func TestTheSampleYieldsEveryObject(t *testing.T) {
	namespace := newNamespace(t)
	if output, err := kubectl(t, "apply", "--namespace", namespace, "--filename", "../../config/samples/chat.yaml"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, output)
	}
	cluster := &v1alpha1.WebSocketCluster{ObjectMeta: metav1.ObjectMeta{Name: "chat", Namespace: namespace}}
	waitReported(t, cluster)
	waitOwned(t, cluster, chatObjects)

	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "chat-gateway"}}
	refresh(t, deployment)
	if *deployment.Spec.Replicas != 3 || deployment.Spec.Template.Spec.Containers[0].Image != testRelease.GatewayImage {
		t.Errorf("the Deployment has %d replicas of %s; the sample says 3, the release %s",
			*deployment.Spec.Replicas, deployment.Spec.Template.Spec.Containers[0].Image, testRelease.GatewayImage)
	}
}

// The garbage collector, which this API server does not have, deletes everything whose owner is gone. So it is enough that each object
// names the cluster as its controller; that they really go is for the end-to-end tests.
func TestEverythingNamesTheClusterAsItsOwner(t *testing.T) {
	cluster := create(t, newNamespace(t), "autoscaling: {}\ningress: {host: chat.example.com}\nredis: {standalone: {storage: {size: 1Gi}}}")
	eventually(t, "the HorizontalPodAutoscaler, the Ingress and the StatefulSet are there", func() string {
		owned := ownedNow(t, cluster)
		for _, id := range []string{"HorizontalPodAutoscaler/chat-gateway", "Ingress/chat", "StatefulSet/chat-redis"} {
			if owned[id] == nil {
				return "no " + id
			}
		}
		return ""
	})
	for id, object := range ownedNow(t, cluster) {
		owners := object.GetOwnerReferences()
		if len(owners) != 1 || owners[0].UID != cluster.UID || !ptr.Deref(owners[0].BlockOwnerDeletion, false) {
			t.Errorf("%s has the owners %+v", id, owners)
		}
	}
}

func TestASecondReconcileWritesNothing(t *testing.T) {
	specs := map[string]string{
		"empty": "{}",
		"everything": `
autoscaling: {targetCPUUtilizationPercentage: 50, behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}
gateway: {podTemplate: {env: [{name: A, value: b}], tolerations: [{key: a, operator: Exists}], volumes: [{name: v, emptyDir: {sizeLimit: 1024Mi}}], volumeMounts: [{name: v, mountPath: /v}], topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}, resources: {requests: {cpu: 1000m, memory: 1024Mi}}}
rooms: [{match: "a*"}]
ingress: {host: chat.example.com, className: nginx, tlsSecretName: tls}
service: {type: LoadBalancer, loadBalancerSourceRanges: ["10.0.0.0/8"], annotations: {a: b}}
redis: {standalone: {storage: {size: 1Gi}, maxMemory: 1024Mi}}`,
		"external Redis": `redis: {type: External, external: {addresses: ["redis.example.com:6379"]}}`,
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			cluster := create(t, newNamespace(t), spec)
			eventually(t, "the operator has made its objects", func() string {
				if len(ownedNow(t, cluster)) < 8 {
					return "few objects"
				}
				return ""
			})
			if problem := waitSettled(t, cluster); problem != "" {
				t.Fatal(problem)
			}
			before := versions(t, cluster)
			count := writes.Load()
			for range 3 {
				reconciled(t, cluster)
			}
			if n := writes.Load() - count; n != 0 {
				t.Errorf("three more reconciliations of an unchanged object sent %d writes to the API server, want 0", n)
			}
			if diff := cmp.Diff(before, versions(t, cluster)); diff != "" {
				t.Errorf("resource versions changed:\n%s", diff)
			}
		})
	}
}

// waitSettled waits until the operator has nothing on its way for the cluster: its cache holds what the API server holds,
// and its last visit saw all of it.
func waitSettled(t *testing.T, cluster *v1alpha1.WebSocketCluster) string {
	t.Helper()
	waitCached(t, cluster)
	waitCondition(t, cluster, v1alpha1.ConditionGatewayReady, metav1.ConditionFalse, v1alpha1.ReasonStarting)
	previous := int64(-1)
	eventually(t, "the operator comes to rest", func() string {
		now := writes.Load()
		if now != previous {
			previous = now
			reconciled(t, cluster)
			return "it still writes"
		}
		return ""
	})
	return ""
}

func versions(t *testing.T, cluster *v1alpha1.WebSocketCluster) map[string]string {
	t.Helper()
	refresh(t, cluster)
	all := map[string]string{"WebSocketCluster": cluster.ResourceVersion}
	for id, object := range ownedNow(t, cluster) {
		all[id] = object.GetResourceVersion()
	}
	return all
}

func TestWhatIsDeletedComesBack(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	for id, object := range waitOwned(t, cluster, chatObjects) {
		if err := api.Delete(t.Context(), object, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			t.Fatalf("delete %s: %v", id, err)
		}
		eventually(t, id+" comes back", func() string {
			back := ownedNow(t, cluster)[id]
			if back == nil || back.GetUID() == object.GetUID() {
				return "it is not there"
			}
			return ""
		})
	}
}

func TestAnEditOfWhatIsOursIsUndoneAndWhatIsNotStays(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	waitOwned(t, cluster, chatObjects)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "chat"}}
	refresh(t, service)
	before := service.DeepCopy()
	service.Labels[manifests.LabelManagedBy] = "somebody"
	service.Labels["team"] = "chat"
	service.Annotations["example.com/note"] = "hello"
	service.Spec.SessionAffinity = corev1.ServiceAffinityNone
	service.Spec.SessionAffinityConfig = nil
	service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: "extra", Port: 8888})
	if err := api.Patch(t.Context(), service, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Service is mended", func() string {
		refresh(t, service)
		if service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
			return "session affinity is " + string(service.Spec.SessionAffinity)
		}
		if got := service.Labels[manifests.LabelManagedBy]; got != manifests.ManagedBy {
			return "the label managed-by is " + got
		}
		return ""
	})
	if service.Labels["team"] != "chat" || service.Annotations["example.com/note"] != "hello" || len(service.Spec.Ports) != 2 {
		t.Errorf("what others added is gone: labels %v, annotations %v, ports %v", service.Labels, service.Annotations, service.Spec.Ports)
	}
}

func TestWhatIsNoLongerWantedGoes(t *testing.T) {
	without := func(gone ...string) []string {
		return slices.DeleteFunc(slices.Clone(chatObjects), func(id string) bool { return slices.Contains(gone, id) })
	}
	with := func(more ...string) []string { return slices.Sorted(slices.Values(append(more, chatObjects...))) }
	cluster := create(t, newNamespace(t), "autoscaling: {}\ningress: {host: chat.example.com}")
	waitOwned(t, cluster, with("HorizontalPodAutoscaler/chat-gateway", "Ingress/chat"))

	steps := []struct {
		name string
		edit func(*v1alpha1.WebSocketClusterSpec)
		want []string
	}{
		{"autoscaling and ingress", func(s *v1alpha1.WebSocketClusterSpec) { s.Autoscaling, s.Ingress = nil, nil }, chatObjects},
		{"the server API", func(s *v1alpha1.WebSocketClusterSpec) { s.API.Mode = v1alpha1.ModeDisabled },
			without("Secret/chat-api-key", "Service/chat-api")},
		{"network policies", func(s *v1alpha1.WebSocketClusterSpec) {
			s.API.Mode = v1alpha1.ModeEnabled
			s.NetworkPolicy.Mode = v1alpha1.ModeDisabled
		}, without("NetworkPolicy/chat-gateway", "NetworkPolicy/chat-redis")},
		{"Redis moves elsewhere", func(s *v1alpha1.WebSocketClusterSpec) {
			s.NetworkPolicy.Mode = v1alpha1.ModeEnabled
			s.Redis = v1alpha1.Redis{Type: v1alpha1.RedisExternal, External: &v1alpha1.ExternalRedis{Addresses: []string{"redis.example.com:6379"}}}
		}, without("ConfigMap/chat-redis", "Deployment/chat-redis", "NetworkPolicy/chat-redis", "Secret/chat-redis", "Service/chat-redis")},
	}
	for _, step := range steps {
		change(t, cluster, step.edit)
		waitOwned(t, cluster, step.want)
	}
}

func TestCredentialsAreMadeOnceAndKept(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	waitOwned(t, cluster, chatObjects)
	read := func(name string) *corev1.Secret {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: name}}
		refresh(t, secret)
		return secret
	}
	first := map[string]*corev1.Secret{}
	seen := map[string]bool{}
	for name, key := range map[string]string{"chat-redis": "password", "chat-api-key": "api-key", "chat-ops": "token"} {
		first[name] = read(name)
		value := string(first[name].Data[key])
		if len(value) < 20 || seen[value] {
			t.Errorf("Secret %s has the %s %q; want at least 20 characters, and no two the same", name, key, value)
		}
		seen[value] = true
	}
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Replicas = ptr.To[int32](5) })
	reconciled(t, cluster)
	for name, secret := range first {
		if diff := cmp.Diff(secret.Data, read(name).Data); diff != "" {
			t.Errorf("Secret %s changed with the spec:\n%s", name, diff)
		}
	}

	secret := read("chat-redis")
	secret.Data["password"] = []byte("a-new-password")
	if err := api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a password that a person puts in place is taken over into Redis's users", func() string {
		now := read("chat-redis")
		if string(now.Data["password"]) != "a-new-password" {
			t.Fatalf("the operator put back %q", now.Data["password"])
		}
		if bytes.Equal(now.Data["users.acl"], first["chat-redis"].Data["users.acl"]) {
			return "users.acl is the old one"
		}
		return ""
	})
}

// outdated is a client whose cache still has an old Secret when it is asked for it, so many times.
type outdated struct {
	client.Client
	secret *corev1.Secret
	times  int
}

func (c *outdated) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if secret, ok := object.(*corev1.Secret); ok && key.Name == c.secret.Name && c.times > 0 {
		c.times--
		c.secret.DeepCopyInto(secret)
		return nil
	}
	return c.Client.Get(ctx, key, object, options...)
}

func TestACredentialThatWasJustChangedIsNotPutBack(t *testing.T) {
	for name, times := range map[string]int{
		"when the cache learns of it during the visit": 1,
		"when the cache learns of it later":            2,
	} {
		t.Run(name, func(t *testing.T) {
			cluster := create(t, newNamespace(t), "{}")
			waitOwned(t, cluster, chatObjects)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "chat-redis"}}
			refresh(t, secret)
			old := secret.DeepCopy()
			delete(old.Annotations, annotationApplied) // so that it is to be written
			secret.Data["password"] = []byte("a-new-password")
			if err := api.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			late := *operator
			late.Client = &outdated{Client: operator.Client, secret: old, times: times}
			result, err := late.Reconcile(t.Context(), requestFor(cluster))
			if err != nil || result.RequeueAfter != waitForCache {
				t.Errorf("the visit with an old cache returns %+v, %v; want another visit after %v", result, err, waitForCache)
			}
			refresh(t, secret)
			if got := string(secret.Data["password"]); got != "a-new-password" {
				t.Errorf("the operator put back the password %q", got)
			}
		})
	}
}

func TestSomebodyElsesObjectIsLeftAlone(t *testing.T) {
	namespace := newNamespace(t)
	theirs := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "chat", Labels: map[string]string{"app": "theirs"}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1234}}},
	}
	if err := api.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	cluster := create(t, namespace, "{}")
	message := waitCondition(t, cluster, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonNotOwned)
	if want := "Service/chat: exists and belongs to somebody else"; !strings.Contains(message, want) {
		t.Errorf("Stalled says %q, want %q", message, want)
	}
	before := theirs.ResourceVersion
	refresh(t, theirs)
	if theirs.ResourceVersion != before || theirs.Spec.Ports[0].Port != 1234 {
		t.Errorf("their Service was written: %+v", theirs)
	}
	owned := ownedNow(t, cluster)
	if owned["Deployment/chat-gateway"] == nil || owned["Deployment/chat-redis"] == nil {
		t.Errorf("the other objects were not made: %v", slices.Sorted(maps.Keys(owned)))
	}
}

func TestAnImpossibleSpecIsToldAndNotRetried(t *testing.T) {
	// the schema cannot know which resource names a pod may ask for; the API server refuses the Deployment
	cluster := create(t, newNamespace(t), "gateway: {resources: {requests: {not/valid/name: 1}, limits: {not/valid/name: 1}}}")
	message := waitCondition(t, cluster, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonApplyRefused)
	for _, want := range []string{"Deployment/chat-gateway", "change the spec accordingly"} {
		if !strings.Contains(message, want) {
			t.Errorf("Stalled says %q, want it to hold %q", message, want)
		}
	}
	result, err := operator.Reconcile(t.Context(), requestFor(cluster))
	if err == nil || !strings.Contains(err.Error(), "terminal error") || result.RequeueAfter != 0 {
		t.Errorf("reconcile returns %+v, %v; want a terminal error", result, err)
	}
}

func TestAnExceededQuotaIsTold(t *testing.T) {
	namespace := newNamespace(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-services"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/services": *resource.NewQuantity(0, resource.DecimalSI)}},
	}
	if err := api.Create(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	// the quota controller would write this
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/services": *resource.NewQuantity(0, resource.DecimalSI)}}
	if err := api.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	cluster := create(t, namespace, "{}")
	message := waitCondition(t, cluster, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonApplyRefused)
	if !strings.Contains(message, "exceeded quota: no-services") || !strings.Contains(message, "the operator tries again") {
		t.Errorf("Stalled says %q; want it to name the quota and say that it is tried again", message)
	}
	if result, err := operator.Reconcile(t.Context(), requestFor(cluster)); err != nil || result.RequeueAfter != waitForOutside {
		t.Errorf("reconcile returns %+v, %v; want another look in %s", result, err, waitForOutside)
	}
}

func TestAClusterThatIsGoneIsNoError(t *testing.T) {
	cluster := &v1alpha1.WebSocketCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "never-was"}}
	reconciled(t, cluster)
}

func TestTwoNamespacesDoNotTouchEachOther(t *testing.T) {
	one, two := create(t, newNamespace(t), "{}"), create(t, newNamespace(t), "{}")
	waitOwned(t, one, chatObjects)
	waitOwned(t, two, chatObjects)
	if err := api.Delete(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first cluster is deleted", func() string {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(one), one); !apierrors.IsNotFound(err) {
			return fmt.Sprint(err)
		}
		return ""
	})
	reconciled(t, one)
	waitOwned(t, two, chatObjects)
}
