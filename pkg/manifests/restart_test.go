package manifests

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
)

// gatewayTemplate returns the pod template as text; pods roll exactly when it changes.
func gatewayTemplate(t *testing.T, cluster *v1alpha1.WebSocketCluster) string {
	t.Helper()
	file, err := settingsFile(cluster)
	if err != nil {
		t.Fatal(err)
	}
	b := builder{cluster: cluster, release: testRelease, credentials: credentialsFor(cluster), settings: file}
	return string(render(t, []Object{b.gatewayDeployment()}))
}

func TestPodsRollOnlyForWhatARunningGatewayCannotTakeOver(t *testing.T) {
	tests := []struct {
		name   string
		change func(*v1alpha1.WebSocketClusterSpec)
		rolls  bool
	}{
		{"a room policy does not roll pods", func(s *v1alpha1.WebSocketClusterSpec) {
			s.Rooms = append([]v1alpha1.RoomPolicy{{Match: "new:*", Presence: v1alpha1.ModeDisabled, Join: "none", Publish: "none"}}, s.Rooms...)
		}, false},
		{"direct messages do not roll pods", func(s *v1alpha1.WebSocketClusterSpec) {
			s.DirectMessages = &v1alpha1.DirectMessages{Publish: "none"}
		}, false},
		{"the inbox does not roll pods", func(s *v1alpha1.WebSocketClusterSpec) {
			s.Inbox = &v1alpha1.Inbox{Size: 1, TTLSeconds: 1, MaxBytes: 1024}
		}, false},
		{"limits do not roll pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.Limits.MaxRoomsPerConnection++ }, false},
		{"origins do not roll pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.AllowedOrigins = []string{"*"} }, false},
		{"the Service does not roll pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Service.Port = 443 }, false},
		{"the heartbeat rolls pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.HeartbeatSeconds++ }, true},
		{"identity rolls pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Auth.Type = v1alpha1.AuthTrustedUserID }, true},
		{"trusted proxies roll pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.TrustedProxies = []string{"10.0.0.0/8"} }, true},
		{"the drain rolls pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Gateway.Drain.TimeoutSeconds = 90 }, true},
		{"the image rolls pods", func(s *v1alpha1.WebSocketClusterSpec) { s.Image = "example.com/gateway:v1" }, true},
		{"an environment variable rolls pods", func(s *v1alpha1.WebSocketClusterSpec) {
			s.Gateway.PodTemplate = &v1alpha1.PodTemplate{PriorityClassName: "high"}
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := load(t, "testdata/minimal.in.yaml")
			after := before.DeepCopy()
			test.change(&after.Spec)
			if rolls := gatewayTemplate(t, before) != gatewayTemplate(t, after); rolls != test.rolls {
				t.Errorf("the pod template changed: %v, want %v", rolls, test.rolls)
			}
		})
	}
}

func TestOnlyReplicasChangeWhenACaseIsScaled(t *testing.T) {
	before := load(t, "testdata/minimal.in.yaml")
	after := before.DeepCopy()
	after.Spec.Replicas = ptr.To[int32](7)
	one, _ := settingsFile(before)
	two, _ := settingsFile(after)
	if one != two {
		t.Errorf("scaling changed the settings file; it must not touch running pods")
	}
}
