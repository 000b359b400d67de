package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

var wsc string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "wsc-test-")
	if err == nil {
		wsc, err = localtest.Build(folder)
	}
	status := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		status = m.Run()
	}
	os.RemoveAll(folder)
	os.Exit(status)
}

// clusterFile writes a WebSocketCluster with this spec and returns its path.
func clusterFile(t *testing.T, spec string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chat.yaml")
	edit(t, path, spec)
	return path
}

// edit replaces the file in one step, as editors do.
func edit(t *testing.T, path, spec string) {
	t.Helper()
	text := "apiVersion: wscluster.dev/v1alpha1\nkind: WebSocketCluster\nmetadata: {name: chat}\nspec: " + spec + "\n"
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// client is a bare WebSocket client.
type client struct {
	t    *testing.T
	ws   *websocket.Conn
	node string
}

type frame map[string]any

// connect opens a connection for user from a source address of this machine.
func connect(t *testing.T, address, user, source string) *client {
	t.Helper()
	c, err := tryConnect(t, address, user, source)
	if err != nil {
		t.Fatalf("connect %s to %s: %v", user, address, err)
	}
	return c
}

func tryConnect(t *testing.T, address, user, source string) (*client, error) {
	dialer := websocket.Dialer{
		HandshakeTimeout: localtest.Patience, Subprotocols: []string{"wscluster.v1.json"},
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
			return from.DialContext(ctx, network, address)
		},
	}
	ws, response, err := dialer.Dial("ws://"+address+"/ws?user_id="+user, nil)
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	c := &client{t: t, ws: ws}
	welcome, err := c.read()
	if err != nil {
		return nil, err
	}
	c.node, _ = welcome["node"].(string)
	return c, nil
}

func (c *client) read() (frame, error) {
	var f frame
	if err := c.ws.SetReadDeadline(time.Now().Add(localtest.Patience)); err != nil {
		return nil, err
	}
	err := c.ws.ReadJSON(&f)
	return f, err
}

// await reads frames until one is of the type.
func (c *client) await(kind string) frame {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if f["type"] == "error" && kind != "error" {
			c.t.Fatalf("waiting for %s: error %v: %v", kind, f["code"], f["message"])
		}
		if f["type"] == kind {
			return f
		}
	}
}

func (c *client) send(f frame) {
	c.t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.ws.WriteMessage(websocket.TextMessage, text); err != nil {
		c.t.Fatal(err)
	}
}

// joinLobby joins the room that the tests talk in.
func (c *client) joinLobby() {
	c.t.Helper()
	c.send(frame{"type": "join", "id": "join", "room_id": "lobby"})
	c.await("ack")
}

// hears publishes a message on from and waits until c has it.
func (c *client) hears(from *client, target frame) {
	c.t.Helper()
	text := fmt.Sprintf("at %d", time.Now().UnixNano())
	target["type"], target["data"] = "publish", text
	from.send(target)
	if got := c.await("message")["data"]; got != text {
		c.t.Fatalf("heard %v, want %s", got, text)
	}
}

func TestTwoClientsOnTwoGatewaysTalk(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}"), "--port", "0")
	address := run.AwaitUp()
	alice := connect(t, address, "alice", "127.0.0.1")
	bob := connect(t, address, "bob", "127.0.0.2")
	if alice.node == bob.node {
		t.Fatalf("both are on %s, want two gateways for two addresses", alice.node)
	}
	alice.joinLobby()
	bob.joinLobby()
	bob.hears(alice, frame{"room_id": "lobby"})
	bob.hears(alice, frame{"target_user_id": "bob"})
	if again := connect(t, address, "alice", "127.0.0.1"); again.node != alice.node {
		t.Errorf("the same address came to %s, want back to %s within the affinity's timeout", again.node, alice.node)
	}
}

func TestTheChatPageIsServed(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 1}"), "--port", "0")
	response, err := http.Get("http://" + run.AwaitUp() + "/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		t.Errorf("GET /: status %d, %s; want 200 and the page", response.StatusCode, response.Header.Get("Content-Type"))
	}
}

func TestAGatewayThatIsKilledLosesItsClientsToTheOthersAndComesBack(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}"), "--port", "0")
	address := run.AwaitUp()
	alice, bob := connect(t, address, "alice", "127.0.0.1"), connect(t, address, "bob", "127.0.0.2")
	victim := run.Gateways()[alice.node]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.read(); err == nil {
		t.Fatal("alice's connection outlived her gateway")
	}
	moved, err := tryConnect(t, address, "alice", "127.0.0.1")
	for deadline := time.Now().Add(localtest.Patience); err != nil && time.Now().Before(deadline); { // a dying socket may still take one
		moved, err = tryConnect(t, address, "alice", "127.0.0.1")
	}
	if err != nil {
		t.Fatalf("after its gateway was killed a client could not connect again: %v", err)
	}
	bob.joinLobby()
	moved.joinLobby()
	bob.hears(moved, frame{"room_id": "lobby"})

	run.Await(victim.Name + `: was ended by signal killed; starting it again`)
	run.Await(victim.Name + `: ready at`)
	run.Await(`all is as wanted: 2 gateways ready`)
	if now := run.Gateways()[victim.Name]; now.PID == victim.PID || now.Address != victim.Address {
		t.Errorf("it came back as pid %d at %s, want another process at %s", now.PID, now.Address, victim.Address)
	}
}

func TestEditingTheFileScales(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 1, auth: {type: TrustedUserID}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	address := run.AwaitUp()
	alice := connect(t, address, "alice", "127.0.0.1")

	edit(t, file, "{replicas: 3, auth: {type: TrustedUserID}}")
	run.Await(`replicas 1 → 3`)
	run.Await(`all is as wanted: 3 gateways ready`)
	bob := connect(t, address, "bob", "127.0.0.2")
	carol := connect(t, address, "carol", "127.0.0.3")
	extra := connect(t, run.Gateways()[bob.node].Address, "extra", "127.0.0.4")
	if extra.node != bob.node || carol.node == bob.node || carol.node == alice.node {
		t.Fatalf("alice on %s, bob on %s, carol on %s: want one on each", alice.node, bob.node, carol.node)
	}

	edit(t, file, "{replicas: 1, auth: {type: TrustedUserID}}")
	run.Await(`replicas 3 → 1`)
	for _, leaver := range []*client{alice, carol} {
		if reason := leaver.await("reconnect")["reason"]; reason != "draining" {
			t.Errorf("%s was told to reconnect for %v, want draining", leaver.node, reason)
		}
	}
	run.Await(`all is as wanted: 1 gateway ready`)
	bob.joinLobby()
	extra.joinLobby()
	bob.hears(extra, frame{"room_id": "lobby"}) // the gateway with the most connections stayed
	if moved := connect(t, address, "alice", "127.0.0.1"); moved.node != bob.node {
		t.Errorf("alice came back to %s, want %s", moved.node, bob.node)
	}
}

func TestSettingsThatRunningGatewaysTakeOver(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	alice := connect(t, run.AwaitUp(), "alice", "127.0.0.1")
	before := run.Gateways()

	edit(t, file, `{replicas: 2, auth: {type: TrustedUserID}, rooms: [{match: "closed", join: none}]}`)
	run.Await(`settings that running gateways take over`)
	refused := func() bool {
		alice.send(frame{"type": "join", "id": "1", "room_id": "closed"})
		f, err := alice.read()
		if err != nil {
			t.Fatal(err)
		}
		return f["code"] == "forbidden"
	}
	for deadline := time.Now().Add(localtest.Patience); !refused(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the room that the new policy closes can still be joined")
		}
	}
	for name, gateway := range run.Gateways() {
		if gateway.PID != before[name].PID {
			t.Errorf("%s was restarted for settings that are reloaded", name)
		}
	}
}

func TestSettingsThatNeedARestartRollWithoutAGap(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	address := run.AwaitUp()
	before := run.Gateways()
	alice := connect(t, address, "alice", "127.0.0.1")

	edit(t, file, "{replicas: 2, auth: {type: TrustedUserID}, gateway: {heartbeatSeconds: 7}}")
	run.Await(`one gateway after the other`)
	over := make(chan struct{})
	failures := make(chan error, 1)
	go func() { // somebody connects all the time
		for i := 0; ; i++ {
			select {
			case <-over:
				close(failures)
				return
			default:
			}
			if _, err := tryConnect(t, address, "visitor", fmt.Sprintf("127.0.1.%d", i%250+1)); err != nil {
				failures <- err
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	alice.await("reconnect")
	run.Await(`all is as wanted: 2 gateways ready`)
	close(over)
	if err := <-failures; err != nil {
		t.Errorf("during the rollout a client could not connect: %v", err)
	}
	after := run.Gateways()
	moved := connect(t, address, "alice", "127.0.0.1")
	if _, old := before[moved.node]; old {
		t.Errorf("alice is on %s, which the rollout should have replaced", moved.node)
	}
	if len(after) != len(before)+2 {
		t.Errorf("%d gateways have been made, want 2 more than the %d before the rollout", len(after), len(before))
	}
}

func TestAnEditThatIsWrongChangesNothing(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 1, auth: {type: TrustedUserID}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	alice := connect(t, run.AwaitUp(), "alice", "127.0.0.1")
	edit(t, file, "{replicas: -1, auth: {type: TrustedUserID}}")
	run.Await(`chat.yaml: spec.replicas: Invalid value: -1: .*greater than or equal to 0`)
	run.Await(`what runs stays as it is`)
	edit(t, file, "{replicas: 1, auth: {type: TrustedUserID}, redis: {type: External, external: {addresses: ['127.0.0.1:1']}}}")
	run.Await(`redis: cannot be changed while it runs`)
	alice.send(frame{"type": "ping", "id": "1"})
	alice.await("ack")
}

func TestAFileThatIsWrongIsRefusedWithTheSentencesOfTheAPIServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ spec, want string }{
		"a value out of range": {"{replicas: 5000}", `spec.replicas: Invalid value: 5000`},
		"an unknown field":     {"{replica: 2}", `unknown field "spec.replica"`},
		"a Secret":             {"{redis: {type: External, external: {addresses: ['127.0.0.1:1'], passwordSecretRef: {name: r, key: p}}}}", `--secret r=FOLDER`},
	} {
		t.Run(name, func(t *testing.T) {
			run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, test.spec), "--port", "0")
			if status := run.AwaitEnd(); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			if printed := strings.Join(run.Lines(), "\n"); !strings.Contains(printed, test.want) {
				t.Errorf("printed %q, want a sentence with %q", printed, test.want)
			}
		})
	}
}

func TestAPortThatIsTakenGivesWayToTheNext(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 1}"), "--port", fmt.Sprint(port))
	found := run.Await(`port (\d+) is taken; using (\d+)`)
	if found[1] != fmt.Sprint(port) {
		t.Errorf("it says that %s is taken, want %d", found[1], port)
	}
	if address := run.AwaitUp(); address != "127.0.0.1:"+found[2] {
		t.Errorf("it listens on %s, want port %s as it says", address, found[2])
	}
}

func TestWithoutRedisServerAnEmbeddedOneServes(t *testing.T) {
	t.Parallel()
	environment := append(os.Environ(), "PATH="+t.TempDir())
	run := localtest.Start(t, wsc, environment, "-f", clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}"), "--port", "0")
	run.Await(`Redis: embedded in this process .* no redis-server is installed`)
	address := run.AwaitUp()
	alice, bob := connect(t, address, "alice", "127.0.0.1"), connect(t, address, "bob", "127.0.0.2")
	alice.joinLobby()
	bob.joinLobby()
	bob.hears(alice, frame{"room_id": "lobby"})
}

func TestARedisThatIsKilledComesBack(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}"), "--port", "0")
	pid, err := strconv.Atoi(run.Await(`Redis: redis-server at .*, pid (\d+), memory only`)[1])
	if err != nil {
		t.Fatal(err)
	}
	address := run.AwaitUp()
	alice, bob := connect(t, address, "alice", "127.0.0.1"), connect(t, address, "bob", "127.0.0.2")
	alice.joinLobby()
	bob.joinLobby()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	run.Await(`Redis: was ended by signal killed; starting it again`)
	run.Await(`Redis: back at`)
	heard := make(chan struct{})
	go func() {
		for {
			if f, err := bob.read(); err != nil {
				return
			} else if f["type"] == "message" {
				close(heard)
				return
			}
		}
	}()
	deadline := time.After(localtest.Patience)
	for { // publishes are unavailable, or go unheard, until the gateways' links are back too
		alice.send(frame{"type": "publish", "room_id": "lobby", "data": 1, "echo": false})
		select {
		case <-heard:
			return
		case <-deadline:
			t.Fatal("a message does not get from one gateway to the other after Redis came back")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestRedisWithStorageKeepsItsFilesHere(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 1, redis: {standalone: {storage: {size: 1Gi}}}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	kept := run.Await(`Redis: redis-server at .* kept in (\S+)`)[1]
	run.AwaitUp()
	if found, err := filepath.Glob(filepath.Join(kept, "appendonlydir", "*.aof")); err != nil || len(found) == 0 {
		t.Errorf("no append-only file in %s (%v)", kept, err)
	}
}

func TestInterruptDrainsAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}"), "--port", "0")
	alice := connect(t, run.AwaitUp(), "alice", "127.0.0.1")
	gateways := run.Gateways()
	run.Interrupt()
	if reason := alice.await("reconnect")["reason"]; reason != "draining" {
		t.Errorf("told to reconnect for %v, want draining", reason)
	}
	if _, err := alice.read(); !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("the connection ended with %v, want close code 1012", err)
	}
	if status := run.AwaitEnd(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	awaitGone(t, gateways)
}

func TestASecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	file := clusterFile(t, "{replicas: 1, auth: {type: TrustedUserID}, gateway: {drain: {timeoutSeconds: 600, reconnectsPerSecond: 100}}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
	alice := connect(t, run.AwaitUp(), "alice", "127.0.0.1")
	gateways := run.Gateways()
	run.Interrupt()
	alice.await("reconnect") // she stays, so the drain goes on
	asked := time.Now()
	run.Interrupt()
	if status := run.AwaitEnd(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if took := time.Since(asked); took > 3*time.Second { // a client that stays is closed 5 s after its turn
		t.Errorf("it took %s to end, want at once", took)
	}
	awaitGone(t, gateways)
}

func TestChildrenDoNotOutliveAKilledParent(t *testing.T) {
	t.Parallel()
	run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 2}"), "--port", "0")
	run.AwaitUp()
	gateways := run.Gateways()
	run.Kill()
	awaitGone(t, gateways)
}

func awaitGone(t *testing.T, gateways map[string]localtest.Gateway) {
	t.Helper()
	for name, gateway := range gateways {
		for deadline := time.Now().Add(localtest.Patience); syscall.Kill(gateway.PID, 0) == nil; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s (pid %d) still runs", name, gateway.PID)
				break
			}
		}
	}
}
