package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/controller"
)

const (
	// pollEvery is the pause between two looks.
	pollEvery = 200 * time.Millisecond
	// establishTime is how long the API server may take to serve a CRD that has just been installed.
	establishTime = 10 * time.Second
)

// check is the subcommand that `helm test` runs: it asks the API server and the operator as a user would. It needs the rights to
// create, get and delete WebSocketClusters in one namespace.
type check struct {
	namespace string
	timeout   time.Duration
	out       io.Writer
	api       client.Client
}

// runCheck returns the exit status.
func runCheck(ctx context.Context, arguments []string, out io.Writer) int {
	c := check{out: out}
	flags := pflag.NewFlagSet("operator check", pflag.ContinueOnError)
	flags.StringVar(&c.namespace, "namespace", "default", "a namespace that the operator looks after")
	flags.DurationVar(&c.timeout, "timeout", time.Minute, "how long the operator may take")
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, "operator check makes a WebSocketCluster without pods, waits until the operator has seen to it, and deletes it.\n\n%s", flags.FlagUsages())
	}
	if err := flags.Parse(arguments); errors.Is(err, pflag.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "operator check: %v\n", err)
		return exitUsage
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "operator check: %v\n", err)
		return exitFailure
	}
	return 0
}

func (c *check) run(ctx context.Context) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w; run this in a pod, or set KUBECONFIG", err)
	}
	if c.api, err = client.New(config, client.Options{Scheme: controller.NewScheme()}); err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.crdIsServed(ctx); err != nil {
		return err
	}
	return c.operatorReconciles(ctx)
}

// crdIsServed has the API server validate an empty spec and fill in its defaults, without storing it.
func (c *check) crdIsServed(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, establishTime)
	defer cancel()
	var cluster *v1alpha1.WebSocketCluster
	var refused error
	err := wait.PollUntilContextCancel(patient, pollEvery, true, func(context.Context) (bool, error) {
		cluster = c.newCluster()
		refused = c.api.Create(ctx, cluster, client.DryRunAll)
		return !meta.IsNoMatchError(refused) && !apierrors.IsNotFound(refused), nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("the API server does not serve WebSocketClusters of %s in the namespace %s: install the CRD (crds.enabled of the chart), and see that the namespace exists",
			v1alpha1.GroupVersion, c.namespace)
	case refused != nil:
		return fmt.Errorf("the API server refuses a WebSocketCluster with an empty spec: %w", refused)
	case ptr.Deref(cluster.Spec.Replicas, 0) == 0:
		return fmt.Errorf("the API server fills in no defaults: the CRD is not the one of this release")
	}
	fmt.Fprintf(c.out, "ok: the API server takes WebSocketClusters of %s\n", v1alpha1.GroupVersion)
	return nil
}

// operatorReconciles makes a cluster that has all its objects and no pod, and waits for its status.
func (c *check) operatorReconciles(ctx context.Context) error {
	cluster := c.newCluster()
	cluster.Spec.Replicas = ptr.To[int32](0)
	// Somebody else's Redis needs no pod, and no gateway will dial it.
	cluster.Spec.Redis = v1alpha1.Redis{Type: v1alpha1.RedisExternal, External: &v1alpha1.ExternalRedis{Addresses: []string{"redis.invalid:6379"}}}
	if err := c.api.Create(ctx, cluster); err != nil {
		return fmt.Errorf("create a WebSocketCluster: %w", err)
	}
	// Also after a timeout, so that nothing stays.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := client.IgnoreNotFound(c.api.Delete(ctx, cluster)); err != nil {
			fmt.Fprintf(c.out, "delete the WebSocketCluster %s/%s by hand: %v\n", cluster.Namespace, cluster.Name, err)
		}
	}()

	started := time.Now()
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if err := c.api.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return false, err
		}
		return cluster.Status.ObservedGeneration == cluster.Generation, nil
	})
	switch {
	case wait.Interrupted(err):
		return fmt.Errorf("no operator looked after the WebSocketCluster %s/%s within %s: look at the operator's pods and their logs, and whether it watches this namespace",
			cluster.Namespace, cluster.Name, c.timeout)
	case err != nil:
		return fmt.Errorf("read the WebSocketCluster: %w", err)
	}
	if stalled := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && stalled.Status == metav1.ConditionTrue {
		return fmt.Errorf("the operator cannot make the objects of a WebSocketCluster: %s: %s", stalled.Reason, stalled.Message)
	}
	fmt.Fprintf(c.out, "ok: the operator looked after a WebSocketCluster within %s\n", time.Since(started).Round(time.Millisecond))
	return nil
}

func (c *check) newCluster() *v1alpha1.WebSocketCluster {
	return &v1alpha1.WebSocketCluster{ObjectMeta: metav1.ObjectMeta{GenerateName: "wscluster-check-", Namespace: c.namespace}}
}
