package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

func TestEveryConditionIsThereFromTheFirstVisit(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	for _, kind := range []string{"Ready", "Progressing", "Stalled", "RedisReady", "GatewayReady", "DeliveryVerified"} {
		condition := meta.FindStatusCondition(cluster.Status.Conditions, kind)
		if condition == nil {
			t.Errorf("no condition %s after the first report: %+v", kind, cluster.Status.Conditions)
			continue
		}
		if condition.ObservedGeneration != cluster.Generation || condition.Reason == "" || condition.Message == "" {
			t.Errorf("condition %s lacks something: %+v", kind, condition)
		}
	}
	for _, kind := range []string{"Autoscaling", "InsecureAuth"} {
		if condition := meta.FindStatusCondition(cluster.Status.Conditions, kind); condition != nil {
			t.Errorf("condition %s is there without need: %+v", kind, condition)
		}
	}
}

func TestAClusterBecomesReadyAndKubectlShowsIt(t *testing.T) {
	cluster := create(t, newNamespace(t), "replicas: 3")
	waitCondition(t, cluster, "Ready", metav1.ConditionFalse, v1alpha1.ReasonRedisNotReady)
	waitCondition(t, cluster, "Progressing", metav1.ConditionTrue, v1alpha1.ReasonRollingOut)

	allReady(t, cluster.Namespace, "chat-redis")
	waitCondition(t, cluster, "RedisReady", metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	waitCondition(t, cluster, "Ready", metav1.ConditionFalse, v1alpha1.ReasonGatewayNotReady)

	setDeployment(t, cluster.Namespace, "chat-gateway", func(s *appsv1.DeploymentStatus) {
		s.Replicas, s.UpdatedReplicas, s.ReadyReplicas = 3, 3, 1
	})
	message := waitCondition(t, cluster, "GatewayReady", metav1.ConditionFalse, v1alpha1.ReasonDegraded)
	if message != "1 of 3 gateway pods are ready" {
		t.Errorf("GatewayReady says %q", message)
	}
	allReady(t, cluster.Namespace, "chat-gateway")
	waitCondition(t, cluster, "Ready", metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	waitCondition(t, cluster, "Progressing", metav1.ConditionFalse, v1alpha1.ReasonComplete)
	waitCondition(t, cluster, "Stalled", metav1.ConditionFalse, v1alpha1.ReasonNotStalled)

	status := cluster.Status
	if status.Replicas != 3 || status.ReadyReplicas != 3 || status.UpdatedReplicas != 3 ||
		status.Selector != "app.kubernetes.io/component=gateway,app.kubernetes.io/instance=chat,app.kubernetes.io/name=wscluster" ||
		status.Redis != (v1alpha1.RedisStatus{Type: v1alpha1.RedisStandalone, Ready: true}) ||
		status.Endpoint != "ws://chat."+cluster.Namespace+".svc/ws" ||
		status.APIEndpoint != "http://chat-api."+cluster.Namespace+".svc:8081" {
		t.Errorf("status is %+v", status)
	}
	if output, err := kubectl(t, "wait", "--namespace", cluster.Namespace, "--for=condition=Ready", "--timeout=5s", "wsc/chat"); err != nil {
		t.Errorf("kubectl wait: %v\n%s", err, output)
	}
	output, err := kubectl(t, "get", "wsc", "--namespace", cluster.Namespace)
	if err != nil {
		t.Fatalf("kubectl get wsc: %v\n%s", err, output)
	}
	line := regexp.MustCompile(`^NAME +READY +REPLICAS +CONNECTIONS +REDIS +ENDPOINT +AGE\nchat +True +3 +True +ws://chat\.test-\S+\.svc/ws +\d+s$`)
	if !line.MatchString(output) {
		t.Errorf("kubectl get wsc prints\n%s\nwant it to match\n%s", output, line)
	}
}

// What the operator has just written is in its cache a moment later; until then the old Deployment looks as if all were done.
func TestAChangeIsNeverReportedAsDoneBeforeItHasBegun(t *testing.T) {
	cluster := create(t, newNamespace(t), "replicas: 2")
	allReady(t, cluster.Namespace, "chat-redis")
	allReady(t, cluster.Namespace, "chat-gateway")
	waitCondition(t, cluster, "Progressing", metav1.ConditionFalse, v1alpha1.ReasonComplete)
	for _, edit := range []func(*v1alpha1.WebSocketClusterSpec){
		func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.HeartbeatSeconds = 7 },
		func(s *v1alpha1.WebSocketClusterSpec) { s.Image = "example.com/gateway:next" },
	} {
		watch, err := api.Watch(t.Context(), &v1alpha1.WebSocketClusterList{}, client.InNamespace(cluster.Namespace))
		if err != nil {
			t.Fatal(err)
		}
		change(t, cluster, edit)
		waitCondition(t, cluster, "Progressing", metav1.ConditionTrue, v1alpha1.ReasonRollingOut)
		last := cluster.ResourceVersion
		for event := range watch.ResultChan() {
			seen, ok := event.Object.(*v1alpha1.WebSocketCluster)
			if !ok {
				t.Fatalf("the watch ended with %+v", event.Object)
			}
			if seen.Status.ObservedGeneration == cluster.Generation {
				if c := meta.FindStatusCondition(seen.Status.Conditions, "Progressing"); c.Status != metav1.ConditionTrue {
					t.Errorf("while nobody has replaced a pod, Progressing is %s: %s", c.Status, c.Message)
				}
			}
			if c := meta.FindStatusCondition(seen.Status.Conditions, "Ready"); c.Status != metav1.ConditionTrue {
				t.Errorf("while both pods serve, Ready is %s: %s", c.Status, c.Message)
			}
			if seen.ResourceVersion == last {
				break
			}
		}
		watch.Stop()
		allReady(t, cluster.Namespace, "chat-gateway")
		waitCondition(t, cluster, "Progressing", metav1.ConditionFalse, v1alpha1.ReasonComplete)
	}

	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Replicas = ptr.To[int32](0) })
	setDeployment(t, cluster.Namespace, "chat-gateway", func(s *appsv1.DeploymentStatus) {
		s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
	})
	waitCondition(t, cluster, "Progressing", metav1.ConditionFalse, v1alpha1.ReasonComplete)
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Replicas = ptr.To[int32](2) })
	if c := meta.FindStatusCondition(cluster.Status.Conditions, "Ready"); c.Status != metav1.ConditionFalse {
		t.Errorf("with no pod of two, Ready is %s: %s", c.Status, c.Message)
	}
}

func TestScalingAndSuspending(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	if output, err := kubectl(t, "scale", "--namespace", cluster.Namespace, "wsc/chat", "--replicas=4"); err != nil {
		t.Fatalf("kubectl scale: %v\n%s", err, output)
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "chat-gateway"}}
	eventually(t, "the Deployment follows the scale", func() string {
		refresh(t, deployment)
		if n := *deployment.Spec.Replicas; n != 4 {
			return fmt.Sprintf("it has %d replicas, want 4", n)
		}
		return ""
	})
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Replicas = ptr.To[int32](0) })
	waitCondition(t, cluster, "Ready", metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	refresh(t, deployment)
	if *deployment.Spec.Replicas != 0 {
		t.Errorf("a suspended cluster's Deployment has %d replicas", *deployment.Spec.Replicas)
	}
	if owned := ownedNow(t, cluster); owned["Deployment/chat-redis"] == nil {
		t.Error("suspending took Redis away")
	}
}

// No kubelet runs here; these are the pod statuses that it would write.
func TestWhyPodsDoNotComeUpIsToldInWordsToActOn(t *testing.T) {
	tests := []struct {
		name, component, condition, reason string
		status                             corev1.PodStatus
		want                               []string
		stalled                            bool
	}{
		{"gateway image missing", manifests.ComponentGateway, "GatewayReady", v1alpha1.ReasonImageNotPulled,
			waitingPod("gateway", "ImagePullBackOff", "Back-off pulling image"),
			[]string{"pod p cannot get the image example.com/gateway:test (ImagePullBackOff)", "check spec.image and spec.imagePullSecrets"}, true},
		{"Redis image missing", manifests.ComponentRedis, "RedisReady", v1alpha1.ReasonImageNotPulled,
			waitingPod("redis", "ErrImagePull", "not found"),
			[]string{"cannot get the image example.com/redis:test", "spec.redis.standalone.image"}, true},
		{"a ConfigMap missing", manifests.ComponentGateway, "GatewayReady", v1alpha1.ReasonContainerConfig,
			waitingPod("gateway", "CreateContainerConfigError", `configmap "extra" not found`),
			[]string{`container gateway of pod p cannot start: configmap "extra" not found`}, true},
		{"a crash loop", manifests.ComponentGateway, "GatewayReady", v1alpha1.ReasonCrashLoop, func() corev1.PodStatus {
			status := waitingPod("gateway", "CrashLoopBackOff", "")
			status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error", Message: "gateway.yaml:3: unknown key\n"}
			return status
		}(), []string{"with exit code 2: gateway.yaml:3: unknown key; see kubectl logs -n", "p --previous"}, true},
		{"out of memory", manifests.ComponentGateway, "GatewayReady", v1alpha1.ReasonCrashLoop, func() corev1.PodStatus {
			status := waitingPod("gateway", "CrashLoopBackOff", "")
			status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
			return status
		}(), []string{"raise the memory limit"}, true},
		{"no room", manifests.ComponentGateway, "GatewayReady", v1alpha1.ReasonUnschedulable, corev1.PodStatus{
			Phase: corev1.PodPending,
			Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
				Message: "0/1 nodes are available: 1 Insufficient cpu."}},
		}, []string{"no node takes pod p: 0/1 nodes are available: 1 Insufficient cpu; add a node"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cluster := create(t, newNamespace(t), "{}")
			waitCached(t, cluster)
			setDeployment(t, cluster.Namespace, "chat-"+test.component, func(s *appsv1.DeploymentStatus) { s.Replicas, s.UpdatedReplicas = 1, 1 })
			makePod(t, cluster, "p", test.component, test.status)
			message := waitCondition(t, cluster, test.condition, metav1.ConditionFalse, test.reason)
			for _, want := range test.want {
				if !strings.Contains(message, want) {
					t.Errorf("%s says %q, want it to hold %q", test.condition, message, want)
				}
			}
			if test.stalled {
				waitCondition(t, cluster, "Stalled", metav1.ConditionTrue, test.reason)
				waitCondition(t, cluster, "Progressing", metav1.ConditionFalse, test.reason)
			} else {
				waitCondition(t, cluster, "Stalled", metav1.ConditionFalse, v1alpha1.ReasonNotStalled)
			}
		})
	}
}

func TestARolloutThatGoesWrongLeavesTheClusterReady(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	waitOwned(t, cluster, chatObjects)
	allReady(t, cluster.Namespace, "chat-redis")
	allReady(t, cluster.Namespace, "chat-gateway")
	waitCondition(t, cluster, "Ready", metav1.ConditionTrue, v1alpha1.ReasonAvailable)

	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Image = "example.com/gateway:misspelt" })
	setDeployment(t, cluster.Namespace, "chat-gateway", func(s *appsv1.DeploymentStatus) { s.Replicas, s.ReadyReplicas, s.UpdatedReplicas = 3, 2, 1 })
	makePod(t, cluster, "new", manifests.ComponentGateway, waitingPod("gateway", "ImagePullBackOff", ""))
	waitCondition(t, cluster, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonImageNotPulled)
	waitCondition(t, cluster, "Ready", metav1.ConditionTrue, v1alpha1.ReasonAvailable)
}

func TestRefusedPodsAreTold(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	waitCached(t, cluster)
	// the deployment controller copies this from the ReplicaSet
	setDeployment(t, cluster.Namespace, "chat-gateway", func(s *appsv1.DeploymentStatus) {
		s.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate",
			Message: `pods "chat-gateway-x" is forbidden: exceeded quota: small`}}
	})
	message := waitCondition(t, cluster, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonPodRefused)
	if !strings.Contains(message, "exceeded quota: small; raise the quota") {
		t.Errorf("Stalled says %q", message)
	}
}

func TestAMissingSecretIsToldUntilItIsThere(t *testing.T) {
	cluster := create(t, newNamespace(t), "auth: {type: JWT, jwt: {secretRef: {name: tokens, key: secret}}}")
	want := fmt.Sprintf("Secret tokens with the entry secret is not in namespace %s; create it", cluster.Namespace)
	if message := waitCondition(t, cluster, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonSecretMissing); message != want {
		t.Errorf("Stalled says %q, want %q", message, want)
	}
	waitCondition(t, cluster, "GatewayReady", metav1.ConditionFalse, v1alpha1.ReasonSecretMissing)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "tokens"}, StringData: map[string]string{"other": "x"}}
	if err := api.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	result, err := operator.Reconcile(t.Context(), requestFor(cluster))
	if err != nil || result.RequeueAfter != waitForOutside {
		t.Errorf("reconcile returns %+v, %v; want another look in %s", result, err, waitForOutside)
	}
	refresh(t, cluster)
	if message := meta.FindStatusCondition(cluster.Status.Conditions, "Stalled").Message; message != "Secret tokens has no entry secret; add it" {
		t.Errorf("Stalled says %q", message)
	}
	secret.StringData = map[string]string{"secret": "s3cret"}
	if err := api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	reconciled(t, cluster)
	waitCondition(t, cluster, "Stalled", metav1.ConditionFalse, v1alpha1.ReasonNotStalled)
}

func TestAnExternalRedisIsSeenThroughTheGateways(t *testing.T) {
	cluster := create(t, newNamespace(t), `redis: {type: External, external: {addresses: ["redis.example.com:6379"]}}`)
	waitCondition(t, cluster, "RedisReady", metav1.ConditionUnknown, v1alpha1.ReasonPending)
	waitCached(t, cluster)
	setDeployment(t, cluster.Namespace, "chat-gateway", func(s *appsv1.DeploymentStatus) { s.Replicas, s.UpdatedReplicas = 2, 2 })
	makePod(t, cluster, "running", manifests.ComponentGateway, corev1.PodStatus{Phase: corev1.PodRunning})
	waitCondition(t, cluster, "RedisReady", metav1.ConditionFalse, v1alpha1.ReasonNotReached)
	allReady(t, cluster.Namespace, "chat-gateway")
	waitCondition(t, cluster, "RedisReady", metav1.ConditionTrue, v1alpha1.ReasonReachedByGateways)
	waitCondition(t, cluster, "Ready", metav1.ConditionTrue, v1alpha1.ReasonAvailable)
}

// No autoscaling controller runs here; these are the conditions that it would write.
func TestAutoscalingSaysWhatIsMissing(t *testing.T) {
	cluster := create(t, newNamespace(t), "autoscaling: {targetConnectionsPerPod: 1000}")
	waitCondition(t, cluster, "Autoscaling", metav1.ConditionUnknown, v1alpha1.ReasonPending)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "chat-gateway"}}
	write := func(status corev1.ConditionStatus, reason string) {
		refresh(t, hpa)
		hpa.Status = autoscalingv2.HorizontalPodAutoscalerStatus{DesiredReplicas: 3, Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
			{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue},
			{Type: autoscalingv2.ScalingActive, Status: status, Reason: reason, Message: "as the autoscaler says"},
		}}
		if err := api.Status().Update(t.Context(), hpa); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the HorizontalPodAutoscaler is there", func() string {
		if ownedNow(t, cluster)["HorizontalPodAutoscaler/chat-gateway"] == nil {
			return "it is not"
		}
		return ""
	})
	write(corev1.ConditionFalse, "InvalidSelector") // what it says when it looks before the first status is written
	eventually(t, "Autoscaling blames no metrics", func() string {
		refresh(t, cluster)
		if condition := meta.FindStatusCondition(cluster.Status.Conditions, "Autoscaling"); condition == nil || !strings.Contains(condition.Message, "which pods") {
			return fmt.Sprintf("it is %+v", condition)
		}
		return ""
	})
	write(corev1.ConditionFalse, "FailedGetPodsMetric")
	if message := waitCondition(t, cluster, "Autoscaling", metav1.ConditionFalse, v1alpha1.ReasonMetricsMissing); !strings.Contains(message, "custom.metrics.k8s.io") {
		t.Errorf("Autoscaling says %q; want it to name the API that is missing", message)
	}
	write(corev1.ConditionFalse, "FailedGetResourceMetric")
	eventually(t, "Autoscaling asks for metrics-server", func() string {
		refresh(t, cluster)
		if message := meta.FindStatusCondition(cluster.Status.Conditions, "Autoscaling").Message; !strings.Contains(message, "install metrics-server") {
			return message
		}
		return ""
	})
	write(corev1.ConditionTrue, "ValidMetricFound")
	waitCondition(t, cluster, "Autoscaling", metav1.ConditionTrue, v1alpha1.ReasonScaling)
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Autoscaling = nil })
	if condition := meta.FindStatusCondition(cluster.Status.Conditions, "Autoscaling"); condition != nil {
		t.Errorf("without autoscaling there is still the condition %+v", condition)
	}
}

func TestAnOpenDoorIsTold(t *testing.T) {
	cluster := create(t, newNamespace(t), "service: {type: LoadBalancer}")
	waitCondition(t, cluster, "InsecureAuth", metav1.ConditionTrue, v1alpha1.ReasonExposedWithoutTokens)
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) {
		s.Auth = v1alpha1.Auth{Type: v1alpha1.AuthJWT, JWT: &v1alpha1.JWT{JWKSURL: "https://login.example.com/keys"}}
	})
	if condition := meta.FindStatusCondition(cluster.Status.Conditions, "InsecureAuth"); condition != nil {
		t.Errorf("with tokens there is still the condition %+v", condition)
	}
}

func TestTheEndpointIsTheWidestDoor(t *testing.T) {
	cluster := create(t, newNamespace(t), "service: {type: LoadBalancer, port: 8443}")
	inside := "ws://chat." + cluster.Namespace + ".svc:8443/ws"
	if cluster.Status.Endpoint != inside {
		t.Errorf("before the load balancer has an address the endpoint is %q, want %q", cluster.Status.Endpoint, inside)
	}
	waitCached(t, cluster)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "chat"}}
	refresh(t, service)
	// a cloud's controller would write this
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "2001:db8::7", IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}}
	if err := api.Status().Update(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	wantEndpoint := func(want string) {
		t.Helper()
		eventually(t, "the endpoint is "+want, func() string {
			refresh(t, cluster)
			if cluster.Status.Endpoint != want {
				return "it is " + cluster.Status.Endpoint
			}
			return ""
		})
	}
	wantEndpoint("ws://[2001:db8::7]:8443/ws")
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.TLS = &v1alpha1.GatewayTLS{SecretName: "chat-tls"} })
	wantEndpoint("wss://[2001:db8::7]:8443/ws")
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) { s.Service.Port = 443 })
	wantEndpoint("wss://[2001:db8::7]/ws")
	change(t, cluster, func(s *v1alpha1.WebSocketClusterSpec) {
		s.Ingress = &v1alpha1.Ingress{Host: "chat.example.com", TLSSecretName: "chat-tls", Path: "/ws"}
	})
	wantEndpoint("wss://chat.example.com/ws")
}

func TestWhatChangesIsToldAsEvents(t *testing.T) {
	cluster := create(t, newNamespace(t), "{}")
	waitOwned(t, cluster, chatObjects)
	allReady(t, cluster.Namespace, "chat-redis")
	allReady(t, cluster.Namespace, "chat-gateway")
	waitCondition(t, cluster, "Ready", metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	makePod(t, cluster, "p", manifests.ComponentGateway, waitingPod("gateway", "ImagePullBackOff", ""))
	waitCondition(t, cluster, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonImageNotPulled)

	eventually(t, "the events Available and ImageNotPulled are there", func() string {
		var list eventsv1.EventList
		if err := api.List(t.Context(), &list, client.InNamespace(cluster.Namespace)); err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, event := range list.Items {
			if event.Regarding.Name == "chat" && event.Regarding.Kind == v1alpha1.Kind {
				told = append(told, event.Type+" "+event.Reason)
			}
		}
		if !slices.Contains(told, "Normal Available") || !slices.Contains(told, "Warning ImageNotPulled") {
			return fmt.Sprintf("events are %v", told)
		}
		return ""
	})
}

// The pod templates must pass where the restricted Pod Security Standard is enforced; the API server's own admission judges.
func TestThePodsMeetTheRestrictedPodSecurityStandard(t *testing.T) {
	for name, spec := range map[string]string{"memory only": "{}", "storage": "redis: {standalone: {storage: {size: 1Gi}}}"} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			if output, err := kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"); err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
			// the service account controller would make this
			if err := api.Create(t.Context(), account); err != nil {
				t.Fatal(err)
			}
			cluster := create(t, namespace, spec)
			waitCached(t, cluster)
			var templates []corev1.PodTemplateSpec
			var deployments appsv1.DeploymentList
			var sets appsv1.StatefulSetList
			if err := api.List(t.Context(), &deployments, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			if err := api.List(t.Context(), &sets, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			for _, d := range deployments.Items {
				templates = append(templates, d.Spec.Template)
			}
			for _, s := range sets.Items {
				// the StatefulSet controller adds the volume of each claim
				for _, claim := range s.Spec.VolumeClaimTemplates {
					s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
						PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name + "-0"},
					}})
				}
				templates = append(templates, s.Spec.Template)
			}
			if len(templates) != 2 {
				t.Fatalf("%d pod templates, want one of the gateways and one of Redis", len(templates))
			}
			for i, template := range templates {
				pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
				pod.Namespace, pod.Name = namespace, fmt.Sprintf("p%d", i)
				if err := api.Create(t.Context(), pod, client.DryRunAll); err != nil {
					t.Errorf("pod %v is refused: %v", template.Labels, err)
				}
			}
		})
	}
}
