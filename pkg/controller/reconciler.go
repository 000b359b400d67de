package controller

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// Least rights: every kind is one that manifests builds; Secrets need get for the ones that the spec names, the rest for our own.
//
// +kubebuilder:rbac:groups=wscluster.dev,resources=websocketclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=wscluster.dev,resources=websocketclusters/status,verbs=get;patch
// +kubebuilder:rbac:groups=wscluster.dev,resources=websocketclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=secrets;configmaps;services;serviceaccounts,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies;ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// waitForOutside is the pause before another look at what nobody tells the operator of: a Secret that the spec names, an object
// in the way, a quota. It is one read or refused write a cluster and pause.
const waitForOutside = 15 * time.Second

// waitForCache is the pause before another visit when the cache was behind: it is up to date within milliseconds.
const waitForCache = 100 * time.Millisecond

// Reconciler brings WebSocketClusters about. All fields are required and fixed after SetupWithManager; Reconcile is safe for
// concurrent use.
type Reconciler struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, for what must not be stale and for what is not cached.
	Live client.Reader
	// Release says which images run where the spec names none.
	Release manifests.Release
	// Events records what people want to know of.
	Events events.EventRecorder

	// fleet reads what the gateways carry. Tests are less patient than its zero timing, which stands for the default.
	fleet       *fleetWatch
	fleetTiming fleetTiming

	// types tells which fields of an object an apply configuration sets; see drift.go.
	types managedfields.TypeConverter
}

// visit is one reconciliation: what was found, and what came of it.
type visit struct {
	cluster *v1alpha1.WebSocketCluster
	// problems are what kept objects from being written, by step or object, in the order in which they came up.
	problems []*writeProblem
	// written holds the generation of what was written, by object: the cache shows it a moment later.
	written map[objectID]int64
	// secretVersions are those of the Secrets that credentials were read from; empty: there was none.
	secretVersions map[string]string
	// outdated: a credential was changed meanwhile, so that not everything was written.
	outdated bool
	seen     observation
}

// Reconcile writes every object that the cluster wants, removes what it no longer wants, and reports.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	// read live: a status that was written a moment ago may not be in the cache yet, and would be written again
	cluster := &v1alpha1.WebSocketCluster{}
	if err := r.Live.Get(ctx, request.NamespacedName, cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !cluster.DeletionTimestamp.IsZero() {
		// every object has an owner reference: the garbage collector removes them
		return ctrl.Result{}, nil
	}
	v := &visit{cluster: cluster, written: map[objectID]int64{}, secretVersions: map[string]string{}}
	r.write(ctx, v)
	r.observe(ctx, v)
	reportErr := r.report(ctx, v)
	return v.result(reportErr)
}

// result decides when to come again. A problem that only a change of the spec can mend ends the matter until that change comes;
// one that is mended elsewhere is looked at again after a while; all others are retried with backoff.
func (v *visit) result(reportErr error) (ctrl.Result, error) {
	var retry, terminal []error
	wait := len(v.seen.missingSecrets) > 0
	for _, problem := range v.problems {
		switch problem.mendedBy {
		case bySpec:
			terminal = append(terminal, problem)
		case byOthers:
			wait = true
		default:
			retry = append(retry, problem)
		}
	}
	retry = append(retry, v.seen.err, reportErr)
	if err := errors.Join(retry...); err != nil {
		return ctrl.Result{}, err
	}
	if v.outdated {
		return ctrl.Result{RequeueAfter: waitForCache}, nil
	}
	if wait {
		return ctrl.Result{RequeueAfter: waitForOutside}, nil
	}
	if err := errors.Join(terminal...); err != nil {
		return ctrl.Result{}, reconcile.TerminalError(err)
	}
	return ctrl.Result{}, nil
}
