package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/fleet"
)

// gatewayWith is a ready pod with canaries: the shards that fail follow a state of failing.
func gatewayWith(pod, state string, failing ...string) gatewayLoad {
	canary := &fleet.Canary{State: state}
	for _, shard := range failing {
		canary.Shards = append(canary.Shards, fleet.ShardCanary{Shard: shard, State: fleet.CanaryFailing})
	}
	return gatewayLoad{ready: true, Load: fleet.Load{Pod: pod, Canary: canary}}
}

func TestDeliveryVerifiedSaysWhatTheCanariesShow(t *testing.T) {
	a, b, c := gatewayWith("a", fleet.CanaryPassing), gatewayWith("b", fleet.CanaryPassing), gatewayWith("c", fleet.CanaryFailing, "redis")
	away := func(g gatewayLoad, ready, leaving bool) gatewayLoad {
		return gatewayLoad{ready: ready, leaving: leaving, Load: fleet.Load{Pod: g.Pod, Err: errors.New("no answer")}}
	}
	leaving := func(g gatewayLoad) gatewayLoad { g.leaving = true; return g }
	unready := func(g gatewayLoad) gatewayLoad { g.ready = false; return g }
	full := gatewayWith("full", fleet.CanaryPassing)
	full.Canary.Shards = []fleet.ShardCanary{{Shard: "redis", State: fleet.CanaryPassing, Refusal: "OOM command not allowed when used memory > 'maxmemory'."}}
	var many []gatewayLoad
	for i := range 8 {
		many = append(many, gatewayWith(fmt.Sprintf("pod-%d", 7-i), fleet.CanaryFailing, "10.0.0.2:6379", "10.0.0.1:6379"))
	}
	for name, test := range map[string]struct {
		replicas int32
		gateways []gatewayLoad
		status   metav1.ConditionStatus
		reason   string
		says     string
	}{
		"all pass":                         {2, []gatewayLoad{a, b}, metav1.ConditionTrue, v1alpha1.ReasonVerified, "comes back to each"},
		"one of several fails":             {3, []gatewayLoad{a, c, b}, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotDelivering, "(shard redis), and what others publish does: c;"},
		"it fails, and is unready of it":   {3, []gatewayLoad{a, unready(c)}, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotDelivering, ": c;"},
		"all fail":                         {8, many, metav1.ConditionFalse, v1alpha1.ReasonNothingDelivered, "(shard 10.0.0.1:6379, 10.0.0.2:6379)"},
		"Redis is full":                    {2, []gatewayLoad{a, full}, metav1.ConditionFalse, v1alpha1.ReasonWritesRefused, "Redis (shard redis) takes no writes: OOM command not allowed when used memory > 'maxmemory'; publishers get unavailable wherever messages are kept; raise "},
		"it was full for one that leaves":  {2, []gatewayLoad{a, leaving(full)}, metav1.ConditionTrue, v1alpha1.ReasonVerified, ""},
		"one fails and Redis is full":      {2, []gatewayLoad{full, c}, metav1.ConditionFalse, v1alpha1.ReasonGatewayNotDelivering, ": c;"},
		"many fail and one does not":       {9, append(many, a), metav1.ConditionFalse, v1alpha1.ReasonGatewayNotDelivering, "pod-0, pod-1, pod-2, pod-3, pod-4 and 3 more"},
		"the only one fails":               {1, []gatewayLoad{c}, metav1.ConditionFalse, v1alpha1.ReasonNothingDelivered, "see Redis"},
		"one fails, one is not observed":   {2, []gatewayLoad{c, away(a, true, false)}, metav1.ConditionFalse, v1alpha1.ReasonNothingDelivered, ""},
		"one that is ready cannot be seen": {2, []gatewayLoad{b, away(a, true, false)}, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "a (no answer)"},
		"one that starts cannot be seen":   {2, []gatewayLoad{b, away(a, false, false)}, metav1.ConditionTrue, v1alpha1.ReasonVerified, ""},
		"one that leaves cannot be seen":   {2, []gatewayLoad{b, away(a, true, true)}, metav1.ConditionTrue, v1alpha1.ReasonVerified, ""},
		"one that leaves fails":            {2, []gatewayLoad{b, leaving(c)}, metav1.ConditionTrue, v1alpha1.ReasonVerified, ""},
		"one has not sent any":             {2, []gatewayLoad{b, gatewayWith("d", fleet.CanaryUnknown)}, metav1.ConditionUnknown, v1alpha1.ReasonPending, "d"},
		"one knows of no canaries":         {2, []gatewayLoad{b, {ready: true, Load: fleet.Load{Pod: "old"}}}, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "old; spec.image"},
		"nobody was asked":                 {2, nil, metav1.ConditionUnknown, v1alpha1.ReasonPending, "no gateway has been asked yet"},
		"the cluster is suspended":         {0, []gatewayLoad{leaving(a)}, metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "spec.replicas is 0"},
	} {
		cluster := &v1alpha1.WebSocketCluster{Spec: v1alpha1.WebSocketClusterSpec{Replicas: new(test.replicas)}}
		got := deliveryVerified(cluster, fleetView{gateways: test.gateways})
		if got.status != test.status || got.reason != test.reason || !strings.Contains(got.message, test.says) {
			t.Errorf("%s: %s because %s: %q; want %s because %s, saying %q", name, got.status, got.reason, got.message, test.status, test.reason, test.says)
		}
	}
}

func TestNumbersOfTheStatusChangeSeldom(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	carrying := func(connections int64) []gatewayLoad {
		return []gatewayLoad{{Load: fleet.Load{Pod: "a", Connections: connections}}}
	}
	missing := []gatewayLoad{{Load: fleet.Load{Pod: "a", Err: errors.New("no answer")}}}
	cluster := &v1alpha1.WebSocketCluster{}
	var view fleetView
	for i, step := range []struct {
		after    time.Duration
		gateways []gatewayLoad
		want     string
		changes  bool
	}{
		{0, nil, "none", false},
		{0, carrying(5), "5", true},
		{10 * time.Second, carrying(7), "5", false},
		{19 * time.Second, carrying(9), "5", false},
		{1 * time.Second, carrying(1234), "1200", true},
		{time.Hour, carrying(1249), "1200", false},
		{0, carrying(1250), "1300", true},
		{time.Hour, missing, "1300", false}, // once is no reason
		{time.Hour, missing, "none", true},
		{0, carrying(1), "1", true},
	} {
		now = now.Add(step.after)
		next := view.next(step.gateways, now, countsPause)
		got := "none"
		if connections, _ := next.counts(); connections != nil {
			got = fmt.Sprint(*connections)
		}
		before, _ := view.counts()
		after, _ := next.counts()
		if got != step.want {
			t.Errorf("step %d: %s connections, want %s", i+1, got, step.want)
		}
		if changed := ptr.Deref(before, -1) != ptr.Deref(after, -1); changed != step.changes {
			t.Errorf("step %d: the number has changed: %v, want %v", i+1, changed, step.changes)
		}
		if step.changes && !changesStatus(cluster, view, next) {
			t.Errorf("step %d: the status is not written anew", i+1)
		}
		view = next
	}
}
