package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/wscluster/wscluster/pkg/controller"
	"github.com/wscluster/wscluster/pkg/version"
)

// leaderElectionID names the lease.
const leaderElectionID = "operator.wscluster.dev"

// start runs the operator until ctx ends, which is a clean end, or until something fails.
func start(ctx context.Context, o options) error {
	level, err := o.level()
	if err != nil {
		return err
	}
	setLogger(level, o.logFormat)

	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w; run the operator in a pod, or set KUBECONFIG", err)
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: controller.NewScheme(),
		Cache:  controller.CacheOptions(o.watchNamespaces),
		Metrics: server.Options{
			BindAddress: o.metricsAddress, SecureServing: true, CertDir: o.metricsCertDirectory,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:  o.healthAddress,
		LeaderElection:          o.leaderElect,
		LeaderElectionID:        leaderElectionID,
		LeaderElectionNamespace: o.leaderElectionNamespace,
		// the process ends right after, so a successor need not wait for the lease to run out
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	if err := addController(manager, o); err != nil {
		return err
	}
	slog.Info("operator starts", "version", version.Version, "namespaces", o.watchNamespaces,
		"gateway_image", o.release.GatewayImage, "redis_image", o.release.RedisImage)
	if err := manager.Start(ctx); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func addController(manager ctrl.Manager, o options) error {
	reconciler := &controller.Reconciler{
		Client:  manager.GetClient(),
		Live:    manager.GetAPIReader(),
		Release: o.release,
		Events:  manager.GetEventRecorder(controller.Name),
	}
	if err := reconciler.SetupWithManager(manager); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	if err := manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("set up /healthz: %w", err)
	}
	if err := manager.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("set up /readyz: %w", err)
	}
	return nil
}

// setLogger sends the operator's lines and those of its libraries the same way.
func setLogger(level slog.Level, format string) {
	var handler slog.Handler = slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	if format == "text" {
		handler = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	}
	slog.SetDefault(slog.New(handler))
	logger := logr.FromSlogHandler(handler)
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
}
