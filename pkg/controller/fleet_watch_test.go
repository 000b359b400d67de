package controller

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// gatewayProgram builds cmd/gateway once.
var gatewayProgram = sync.OnceValues(func() (string, error) {
	program := filepath.Join(scratch, "gateway")
	output, err := exec.Command("go", "build", "-o", program, "github.com/wscluster/wscluster/cmd/gateway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return program, nil
})

// realPod is a gateway process behind a pod object with its address, which a kubelet would make of it: there is none here. Each pod
// has an address of loopback of its own, so that all have the same ports, as pods do.
type realPod struct {
	name, address string
	process       *os.Process
	proxy         *faultproxy.Proxy // on the way to Redis
}

func startRealPod(t *testing.T, cluster *v1alpha1.WebSocketCluster, redis *redistest.Server, number int) realPod {
	t.Helper()
	program, err := gatewayProgram()
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: manifests.OpsName(cluster)}}
	refresh(t, secret)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, secret.Data[manifests.OpsTokenKey], 0o600); err != nil {
		t.Fatal(err)
	}
	p := realPod{name: fmt.Sprintf("chat-gateway-%d", number), address: fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>8&0x7f, os.Getpid()&0xff, number),
		proxy: faultproxy.Start(t, redis.Addr)}
	p.proxy.Mark("SUBSCRIBE")
	command := exec.Command(program, "--node="+p.name, "--backplane=redis://"+p.proxy.Addr, "--cluster="+manifests.ClusterPrefix(cluster),
		fmt.Sprintf("--listen=%s:%d", p.address, manifests.PublicPort), fmt.Sprintf("--ops-listen=%s:%d", p.address, manifests.OpsPort), "--ops-token-file="+token)
	command.Stderr = t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = command.Process
	t.Cleanup(func() {
		forgetCluster(t, cluster)
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	makePod(t, cluster, p.name, manifests.ComponentGateway, corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: p.address, PodIPs: []corev1.PodIP{{IP: p.address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	})
	return p
}

// forgetCluster deletes a cluster and waits until the operator has seen it: what becomes of its gateways must not be written about
// while other tests count what is written.
func forgetCluster(t *testing.T, cluster *v1alpha1.WebSocketCluster) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := client.IgnoreNotFound(api.Delete(ctx, cluster.DeepCopy())); err != nil {
		t.Error(err)
	}
	eventually(t, "the operator knows that the cluster is deleted", func() string {
		if err := operator.Client.Get(ctx, client.ObjectKeyFromObject(cluster), &v1alpha1.WebSocketCluster{}); !apierrors.IsNotFound(err) {
			return fmt.Sprint("it is still cached: ", err)
		}
		return ""
	})
}

// connect has clients connect to a pod for the rest of the test, each in a room of its own.
func (p realPod) connect(t *testing.T, clients int) {
	t.Helper()
	for i := range clients {
		address := fmt.Sprintf("ws://%s:%d/ws", p.address, manifests.PublicPort)
		ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil)
		if err != nil {
			t.Fatalf("connect to %s: %v", address, err)
		}
		_ = response.Body.Close()
		t.Cleanup(func() { _ = ws.Close() })
		if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"join","room_id":"%s-%d"}`, p.name, i)); err != nil {
			t.Fatal(err)
		}
		go func() { // whoever does not read answers no pings
			for err == nil {
				_, _, err = ws.ReadMessage()
			}
		}()
	}
}

func waitCounts(t *testing.T, cluster *v1alpha1.WebSocketCluster, connections, rooms int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("the status has %d connections and %d rooms", connections, rooms), func() string {
		refresh(t, cluster)
		if got, in := ptr.Deref(cluster.Status.Connections, -1), ptr.Deref(cluster.Status.Rooms, -1); got != connections || in != rooms {
			return fmt.Sprintf("it has %d and %d", got, in)
		}
		return ""
	})
}

func TestTheStatusSaysWhatRealGatewaysCarryAndDeliver(t *testing.T) {
	redis := redistest.Start(t)
	cluster := create(t, newNamespace(t), "replicas: 2")
	waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionUnknown, v1alpha1.ReasonPending)
	if cluster.Status.Connections != nil {
		t.Errorf("%d connections are known of before there is a gateway", *cluster.Status.Connections)
	}
	one, two := startRealPod(t, cluster, redis, 1), startRealPod(t, cluster, redis, 2)
	waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionTrue, v1alpha1.ReasonVerified)
	waitCounts(t, cluster, 0, 0)
	if output, err := kubectl(t, "wait", "--namespace", cluster.Namespace, "--for=condition=DeliveryVerified", "--timeout=5s", "wsc/chat"); err != nil {
		t.Errorf("kubectl wait: %v\n%s", err, output)
	}

	one.connect(t, 100)
	two.connect(t, 23)
	waitCounts(t, cluster, 120, 120)
	output, err := kubectl(t, "get", "wsc", "--namespace", cluster.Namespace)
	if err != nil || !regexp.MustCompile(`(?m)^chat +\S+ +\d+ +120 `).MatchString(output) {
		t.Errorf("kubectl get wsc prints %v\n%s", err, output)
	}

	// One that is alone with it is named; the others' doors stay open.
	one.proxy.BlackholeMarked()
	message := waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionFalse, v1alpha1.ReasonGatewayNotDelivering)
	if !strings.Contains(message, one.name) || strings.Contains(message, two.name) || !strings.Contains(message, "shard redis") {
		t.Errorf("DeliveryVerified says %q, want it to name %s and the shard", message, one.name)
	}
	two.proxy.BlackholeMarked()
	waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionFalse, v1alpha1.ReasonNothingDelivered)

	// While nothing changes nothing is written, however often the gateways are asked and canaries fail.
	looks, version, before := time.Now().Add(20*testTiming.interval), cluster.ResourceVersion, writes.Load()
	for time.Now().Before(looks) {
		refresh(t, cluster)
		if cluster.ResourceVersion != version {
			t.Fatalf("the object was written while nothing has changed: %+v", cluster.Status)
		}
		time.Sleep(testTiming.interval)
	}
	if after := writes.Load(); after != before {
		t.Errorf("the operator wrote %d times while nothing has changed", after-before)
	}

	one.proxy.Restore()
	two.proxy.Restore()
	waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionTrue, v1alpha1.ReasonVerified)

	if err := two.process.Kill(); err != nil {
		t.Fatal(err)
	}
	message = waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionUnknown, v1alpha1.ReasonNotObserved)
	if !strings.Contains(message, two.name+" (cannot dial: connect: connection refused)") {
		t.Errorf("DeliveryVerified says %q", message)
	}
	waitCounts(t, cluster, 100, 100)
}

func TestGatewaysThatDoNotTakeTheTokenAreNotObserved(t *testing.T) {
	redis := redistest.Start(t)
	cluster := create(t, newNamespace(t), "replicas: 1")
	pod := startRealPod(t, cluster, redis, 9)
	waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionTrue, v1alpha1.ReasonVerified)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: manifests.OpsName(cluster)}}
	// A reconciliation that is under way, for the first count of connections, would put back the token that it has read before.
	waitCounts(t, cluster, 0, 0)
	reconciled(t, cluster)
	refresh(t, secret)
	secret.Data[manifests.OpsTokenKey] = []byte("another")
	if err := api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	message := waitCondition(t, cluster, "DeliveryVerified", metav1.ConditionUnknown, v1alpha1.ReasonNotObserved)
	if !strings.Contains(message, pod.name+" (/statusz answers 401)") {
		t.Errorf("DeliveryVerified says %q", message)
	}
}
