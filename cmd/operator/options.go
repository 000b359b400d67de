package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wscluster/wscluster/pkg/manifests"
	"github.com/wscluster/wscluster/pkg/version"
)

// Environment variables that name images, as the Operator Lifecycle Manager and mirrors of registries expect them.
const (
	gatewayImageVariable = "RELATED_IMAGE_GATEWAY"
	redisImageVariable   = "RELATED_IMAGE_REDIS"
)

// The images of this release. Redis keeps its own version.
const (
	gatewayImage = "wscluster.dev/gateway:"
	redisImage   = "wscluster.dev/redis:7.0.15"
)

// off as an address switches a listener off.
const off = "0"

// options is what the operator can be told.
type options struct {
	watchNamespaces         []string
	release                 manifests.Release
	leaderElect             bool
	leaderElectionNamespace string
	metricsAddress          string
	metricsCertDirectory    string
	healthAddress           string
	logLevel                string
	logFormat               string
	showVersion             bool
}

// parseOptions reads flags, and the images from the environment where no flag names them. The error is one line that names the flag and
// what is allowed; pflag.ErrHelp after the usage text was printed.
func parseOptions(arguments, environment []string) (options, error) {
	var o options
	flags := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "namespaces to watch, separated by commas (default all)")
	flags.StringVar(&o.release.GatewayImage, "gateway-image", fromEnvironment(environment, gatewayImageVariable, gatewayImage+version.Version),
		"image of the gateway where a WebSocketCluster names none; also $"+gatewayImageVariable)
	flags.StringVar(&o.release.RedisImage, "redis-image", fromEnvironment(environment, redisImageVariable, redisImage),
		"image of Redis where a WebSocketCluster names none; also $"+redisImageVariable)
	flags.BoolVar(&o.leaderElect, "leader-elect", true, "of several operators let only one work at a time")
	flags.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "namespace of the lease (default the pod's own)")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8443", "HTTPS address of /metrics, for callers with the right to get it; "+off+" switches it off")
	flags.StringVar(&o.metricsCertDirectory, "metrics-cert-dir", "", "folder with tls.crt and tls.key for /metrics (default a self-signed certificate)")
	flags.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; "+off+" switches it off")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
	flags.BoolVar(&o.showVersion, "version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, "operator turns WebSocketClusters into running gateways and Redis.\n\n%s", flags.FlagUsages())
	}
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if extra := flags.Args(); len(extra) > 0 {
		return o, fmt.Errorf("takes no arguments beside flags, not %q; see --help", extra[0])
	}
	err := o.validate()
	return o, err
}

func (o *options) validate() error {
	for _, namespace := range o.watchNamespaces {
		if faults := validation.IsDNS1123Label(namespace); len(faults) > 0 {
			return fmt.Errorf("--watch-namespaces: %q is not the name of a namespace; write names separated by commas, such as chat,games", namespace)
		}
	}
	for flag, image := range map[string]string{"gateway-image": o.release.GatewayImage, "redis-image": o.release.RedisImage} {
		if image == "" || strings.ContainsFunc(image, func(r rune) bool { return r <= ' ' }) {
			return fmt.Errorf("--%s: %q is not an image; write for example registry.example.com/%s:v1.0.0", flag, image, strings.TrimSuffix(flag, "-image"))
		}
	}
	for flag, address := range map[string]string{"metrics-bind-address": o.metricsAddress, "health-probe-bind-address": o.healthAddress} {
		if address == off {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("--%s: %q is not an address; write :PORT or HOST:PORT, or %s to switch it off", flag, address, off)
		}
	}
	if _, err := o.level(); err != nil {
		return err
	}
	if !slices.Contains([]string{"json", "text"}, o.logFormat) {
		return fmt.Errorf("--log-format: %q is not a format; write json or text", o.logFormat)
	}
	return nil
}

func (o *options) level() (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, known := levels[o.logLevel]
	if !known {
		return 0, fmt.Errorf("--log-level: %q is not a level; write debug, info, warn or error", o.logLevel)
	}
	return level, nil
}

// fromEnvironment returns the variable's value, or the standard when it is unset or empty.
func fromEnvironment(environment []string, name, standard string) string {
	for _, entry := range environment {
		if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
			return value
		}
	}
	return standard
}
