//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestTwoClustersOfOneNameAreApart runs two in two restricted namespaces: the same rooms and users in both, and nothing passes.
func TestTwoClustersOfOneNameAreApart(t *testing.T) {
	t.Parallel()
	ctx := within(t, 8*time.Minute)
	ensureOperator(ctx, t)
	here := apply(ctx, t, newNamespace(ctx, t, "here"), spec(2))
	there := apply(ctx, t, newNamespace(ctx, t, "there"), spec(2))
	here.awaitSettled(ctx, t)
	there.awaitSettled(ctx, t)

	aliceHere, bobHere := dialApart(ctx, t, here.url(ctx, t), "alice", "bob")
	aliceThere, bobThere := dialApart(ctx, t, there.url(ctx, t), "alice", "bob")
	for _, c := range []*conn{aliceHere, bobHere, aliceThere, bobThere} {
		c.join(ctx, "lobby")
		c.join(ctx, "log-1")
	}
	// What crossed over would come before what is sent next, as all of it is sent by turns.
	for _, room := range []string{"lobby", "log-1"} {
		aliceHere.say(ctx, room, "from here")
		aliceThere.say(ctx, room, "from there")
		bobHere.hears(ctx, room, "alice", "from here")
		bobThere.hears(ctx, room, "alice", "from there")
	}
	aliceHere.tell(ctx, "bob", "to bob here")
	aliceThere.tell(ctx, "bob", "to bob there")
	bobHere.hears(ctx, "", "alice", "to bob here")
	bobThere.hears(ctx, "", "alice", "to bob there")

	key := here.secret(ctx, t, "chat-api-key", "api-key")
	if got := publishByAPI(ctx, t, here, key); got != http.StatusOK {
		t.Errorf("the server API answers its own key with %d, want 200", got)
	}
	bobHere.hears(ctx, "lobby", "", "from a server")
	if got := publishByAPI(ctx, t, there, key); got != http.StatusUnauthorized {
		t.Errorf("the server API answers the other cluster's key with %d, want 401", got)
	}
	password := here.secret(ctx, t, "chat-redis", "password")
	if got := redisLogin(ctx, t, here, password); got != "+OK" {
		t.Errorf("Redis answers its own password with %q", got)
	}
	if got := redisLogin(ctx, t, there, password); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("Redis answers the other cluster's password with %q, want WRONGPASS", got)
	}
}

// TestRestrictedNamespacesAreRestricted shows that the namespaces of all these tests would refuse a pod that asks for more.
func TestRestrictedNamespacesAreRestricted(t *testing.T) {
	t.Parallel()
	ctx := within(t, 2*time.Minute)
	ensureOperator(ctx, t)
	for _, namespace := range []string{newNamespace(ctx, t, "restricted"), systemNamespace} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "root"},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "root", Image: "wscluster.dev/gateway:" + thisVersion,
				SecurityContext: &corev1.SecurityContext{RunAsUser: ptr.To[int64](0)},
			}}},
		}
		if err := api.Create(ctx, pod); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
			t.Errorf("a pod that runs as root in %s: %v; want it refused by Pod Security", namespace, err)
		}
	}
}

func (f fleet) secret(ctx context.Context, t *testing.T, name, entry string) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := api.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, secret); err != nil {
		t.Fatal(err)
	}
	return string(secret.Data[entry])
}

// publishByAPI publishes into lobby and returns the HTTP status.
func publishByAPI(ctx context.Context, t *testing.T, f fleet, key string) int {
	t.Helper()
	address := "http://" + f.address(ctx, t, f.name+"-api") + "/v1/rooms/lobby/messages"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(`{"data":"from a server"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(key))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// redisLogin logs in as the gateways do and returns Redis's answer. The cluster of these tests enforces no NetworkPolicies;
// where they are enforced, nobody else gets this far.
func redisLogin(ctx context.Context, t *testing.T, f fleet, password string) string {
	t.Helper()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.address(ctx, t, f.name+"-redis"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection, and then the write does too
	if _, err := fmt.Fprintf(connection, "AUTH gateway %s\r\n", password); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
