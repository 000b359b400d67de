package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/fleet"
	"github.com/wscluster/wscluster/pkg/manifests"
)

const (
	// fleetInterval is the time between two looks at what the gateways carry: two of their own canaries.
	fleetInterval = 10 * time.Second
	// countsPause is the least time between two changes of the numbers in a status, which etcd keeps and everybody who watches is told of.
	countsPause = 30 * time.Second
	// clustersAtOnce bounds the clusters that are looked at together, so that one whose pods do not answer holds few others up.
	clustersAtOnce = 8
)

// fleetWatch asks the gateways of every WebSocketCluster what they carry, and has a cluster reconciled when that changes its status.
// A reconciliation reads what is known here and never waits for a gateway. It is safe for concurrent use.
type fleetWatch struct {
	// Fixed when it is made.
	client client.Client
	reader *fleet.Reader
	timing fleetTiming
	news   chan event.GenericEvent

	mu    sync.Mutex
	views map[types.NamespacedName]fleetView
}

var _ manager.LeaderElectionRunnable = (*fleetWatch)(nil)

// fleetTiming is fleetInterval and countsPause, and less in tests.
type fleetTiming struct{ interval, pause time.Duration }

// fleetView is what the gateways of a cluster have said of themselves last. The zero value: nothing is known. It is never changed.
type fleetView struct {
	gateways []gatewayLoad
	// totals are as the status shows them, and since when; nil: no gateway has answered.
	totals *fleet.Totals
	since  time.Time
}

// gatewayLoad is a running gateway pod.
type gatewayLoad struct {
	fleet.Load
	// ready is what Kubernetes believes of the pod, leaving that it is being deleted.
	ready, leaving bool
	// missed counts the looks in a row in which the pod did not answer.
	missed int
}

// counts are the numbers for the status.
func (v fleetView) counts() (connections, rooms *int64) {
	if v.totals == nil {
		return nil, nil
	}
	return &v.totals.Connections, &v.totals.Rooms
}

func newFleetWatch(c client.Client, timing fleetTiming) *fleetWatch {
	return &fleetWatch{
		client: c, reader: fleet.NewReader(manifests.OpsPort), timing: timing, news: make(chan event.GenericEvent),
		views: map[types.NamespacedName]fleetView{},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: who writes no status asks nobody.
func (w *fleetWatch) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable: it asks until ctx ends.
func (w *fleetWatch) Start(ctx context.Context) error {
	ticker := time.NewTicker(w.timing.interval)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// view returns what is known of a cluster's gateways.
func (w *fleetWatch) view(cluster types.NamespacedName) fleetView {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.views[cluster]
}

// look asks the gateways of every cluster once.
func (w *fleetWatch) look(ctx context.Context) {
	var clusters v1alpha1.WebSocketClusterList
	if err := w.client.List(ctx, &clusters); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the clusters whose gateways are to be asked")
		return
	}
	exists := make(map[types.NamespacedName]bool, len(clusters.Items))
	places := make(chan struct{}, clustersAtOnce)
	var all sync.WaitGroup
	for i := range clusters.Items {
		cluster := &clusters.Items[i]
		exists[client.ObjectKeyFromObject(cluster)] = true
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			w.lookAt(ctx, cluster)
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.views {
		if !exists[name] {
			delete(w.views, name)
		}
	}
}

// lookAt asks the gateways of one cluster, and has it reconciled if its status is to change.
func (w *fleetWatch) lookAt(ctx context.Context, cluster *v1alpha1.WebSocketCluster) {
	name := client.ObjectKeyFromObject(cluster)
	gateways, err := w.ask(ctx, cluster)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "ask the gateways", "cluster", name)
		return
	}
	before := w.view(name)
	after := before.next(gateways, time.Now(), w.timing.pause)
	w.mu.Lock()
	w.views[name] = after
	w.mu.Unlock()
	if !changesStatus(cluster, before, after) {
		return
	}
	select {
	case w.news <- event.GenericEvent{Object: cluster}:
	case <-ctx.Done():
	}
}

// ask reads the load of the pods that run.
func (w *fleetWatch) ask(ctx context.Context, cluster *v1alpha1.WebSocketCluster) ([]gatewayLoad, error) {
	var list corev1.PodList
	if err := w.client.List(ctx, &list, client.InNamespace(cluster.Namespace),
		client.MatchingLabels(manifests.Selector(cluster, manifests.ComponentGateway))); err != nil {
		return nil, fmt.Errorf("list the gateway pods: %w", err)
	}
	var pods []fleet.Pod
	var gateways []gatewayLoad
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			continue
		}
		pods = append(pods, fleet.Pod{Name: pod.Name, Address: pod.Status.PodIP})
		gateways = append(gateways, gatewayLoad{ready: podReady(pod), leaving: !pod.DeletionTimestamp.IsZero()})
	}
	if len(pods) == 0 {
		return nil, nil
	}
	secret, err := get[corev1.Secret](ctx, w.client, cluster.Namespace, manifests.OpsName(cluster))
	if err != nil || secret == nil {
		return nil, err // a Secret that is away for a moment says nothing of the gateways
	}
	for i, load := range w.reader.Read(ctx, pods, string(secret.Data[manifests.OpsTokenKey])) {
		gateways[i].Load = load
	}
	return gateways, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// next is the view after the gateways have answered. A pod that does not answer for once is as it was. The numbers change when
// those before have stood for the pause.
func (v fleetView) next(gateways []gatewayLoad, now time.Time, pause time.Duration) fleetView {
	before := make(map[string]gatewayLoad, len(v.gateways))
	for _, g := range v.gateways {
		before[g.Pod] = g
	}
	gateways = slices.Clone(gateways)
	next := fleetView{gateways: gateways, totals: v.totals, since: v.since}
	loads := make([]fleet.Load, len(gateways))
	for i := range gateways {
		g := &gateways[i]
		if old, known := before[g.Pod]; g.Err != nil && known {
			g.missed = old.missed + 1
			if old.Err == nil && g.missed < 2 {
				g.Load = old.Load
			}
		}
		loads[i] = g.Load
	}
	sum, known := fleet.Sum(loads)
	rounded := sum.Rounded()
	switch {
	case !known:
		next.totals = nil
	case v.totals == nil || *v.totals != rounded && now.Sub(v.since) >= pause:
		next.totals, next.since = &rounded, now
	}
	return next
}

// changesStatus says whether a status written from one view differs from one written from the other.
func changesStatus(cluster *v1alpha1.WebSocketCluster, before, after fleetView) bool {
	if (before.totals == nil) != (after.totals == nil) || before.totals != nil && *before.totals != *after.totals {
		return true
	}
	return deliveryVerified(cluster, before) != deliveryVerified(cluster, after)
}
