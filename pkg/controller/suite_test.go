package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/wscluster/wscluster/pkg/manifests"
)

// The tests of this package run against a real kube-apiserver and etcd, with the operator's manager running beside them.
// There is no kubelet and no other controller: nobody makes pods, writes the status of a Deployment or collects garbage.
// Where a test needs those it writes what they would write, and says so.
var (
	// api is an administrator's client, without a cache.
	api client.WithWatch
	// operator is the reconciler that the running manager uses.
	operator *Reconciler
	// writes counts what the operator sends to the API server, other than reads.
	writes atomic.Int64
	// kubeconfig is for kubectl.
	kubeconfig string
	assets     string
	// scratch is a folder that is removed after all tests.
	scratch string
)

// testTiming has the gateways asked often.
var testTiming = fleetTiming{interval: 200 * time.Millisecond, pause: 2 * time.Second}

var testRelease = manifests.Release{GatewayImage: "example.com/gateway:test", RedisImage: "example.com/redis:test"}

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (int, error) {
	assets = os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return 0, fmt.Errorf("KUBEBUILDER_ASSETS is not set, so there is no kube-apiserver to test against: make test builds it (about 7 minutes once) and sets the variable")
	}
	log.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(logFile(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	// without this plugin nobody would check that the operator may set owner references that block deletion
	environment.ControlPlane.GetAPIServer().Configure().Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	// also after a failed start: a CRD that is refused leaves both processes running
	defer func() { _ = environment.Stop() }()
	config, err := environment.Start()
	if err != nil {
		return 0, fmt.Errorf("start kube-apiserver and etcd from %s: %w", assets, err)
	}

	scheme := NewScheme()
	if api, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return 0, err
	}
	user, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, config)
	if err != nil {
		return 0, err
	}
	text, err := user.KubeConfig()
	if err != nil {
		return 0, err
	}
	folder, err := os.MkdirTemp("", "wscluster-envtest")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	scratch = folder
	kubeconfig = filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return 0, err
	}

	ctx, stop := context.WithCancel(context.Background())
	limited, err := operatorUser(ctx, environment, config)
	if err != nil {
		stop()
		return 0, fmt.Errorf("make the operator's user: %w", err)
	}
	done, err := startOperator(ctx, limited)
	if err != nil {
		stop()
		return 0, err
	}
	code := m.Run()
	stop()
	return code, <-done
}

// operatorUser makes a user with exactly the rights of config/rbac/role.yaml, so that every test also proves that they suffice.
func operatorUser(ctx context.Context, environment *envtest.Environment, config *rest.Config) (*rest.Config, error) {
	const name = "wscluster-operator"
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", "role.yaml"))
	if err != nil {
		return nil, err
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		return nil, err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	if err := errors.Join(api.Create(ctx, role), api.Create(ctx, binding)); err != nil {
		return nil, err
	}
	user, err := environment.AddUser(envtest.User{Name: name}, config)
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

// startOperator runs the manager as cmd/operator does, with every request counted.
func startOperator(ctx context.Context, config *rest.Config) (<-chan error, error) {
	counted := rest.CopyConfig(config)
	counted.QPS = -1
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodGet {
				writes.Add(1)
			}
			return next.RoundTrip(request)
		})
	})
	manager, err := ctrl.NewManager(counted, ctrl.Options{
		Scheme:  NewScheme(),
		Cache:   CacheOptions(nil),
		Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return nil, err
	}
	operator = &Reconciler{
		Client: manager.GetClient(), Live: manager.GetAPIReader(),
		Release: testRelease, Events: manager.GetEventRecorder(Name), fleetTiming: testTiming,
	}
	if err := operator.SetupWithManager(manager); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- manager.Start(ctx) }()
	return done, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// logFile is where the operator logs while tests run: kept out of the way of their own output unless asked for.
func logFile() *os.File {
	if path := os.Getenv("WSCLUSTER_TEST_LOG"); path != "" {
		if file, err := os.Create(path); err == nil {
			return file
		}
	}
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr
	}
	return file
}

// newNamespace makes a namespace for one test. It is left behind: without a namespace controller none ever goes away.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := api.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// patience bounds every wait for the operator.
const patience = 45 * time.Second

// eventually calls check until it returns "", which it must within patience; what it returns last is the failure.
func eventually(t *testing.T, what string, check func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %s", what, patience, complaint)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
