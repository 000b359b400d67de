package contract

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// opsCall makes a request of the ops port with header name, value pairs.
func (g *gateway) opsCall(t *testing.T, method, path string, header ...string) answer {
	t.Helper()
	return ask(t, method, "http://"+g.ops+path, "", header...)
}

func TestHealth(t *testing.T) {
	t.Parallel()

	holds(t, "An outage of Redis never makes a ready gateway unready … GET /livez answers 200 as long as the process runs. It never depends on Redis. … GET /readyz answers 200, or 503 and why not: before the first link to Redis", func(t *testing.T) {
		r := startRedis(t)
		r.kill()
		g, err := runGateway(t.TempDir(), "", "--auth=trusted", "--backplane="+r.url())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.kill)
		if got := g.opsCall(t, "GET", "/livez"); got.status != 200 {
			t.Errorf("/livez is %d before the first link to Redis", got.status)
		}
		if got := g.opsCall(t, "GET", "/readyz"); got.status != 503 || !strings.Contains(got.body, "backplane") {
			t.Errorf("/readyz is %d %q before the first link to Redis", got.status, got.body)
		}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "/readyz answers 200 once Redis is there", func() bool { return g.opsCall(t, "GET", "/readyz").status == 200 })
	})

	holds(t, "Connections of this process. Over it: HTTP 503 overloaded, and /readyz fails. … and when as many clients are connected as max-connections allows.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--max-connections=2")
		one := dial(t, g, "one")
		dial(t, g, "two")
		if got := g.opsCall(t, "GET", "/readyz"); got.status != 503 || !strings.Contains(got.body, "full") {
			t.Errorf("/readyz is %d %q when it is full", got.status, got.body)
		}
		got := handshake(t, g, "/ws?user_id=three")
		wantRefusal(t, got, 503, "overloaded")
		wantRetryAfter(t, got)
		if got := g.opsCall(t, "GET", "/livez"); got.status != 200 {
			t.Errorf("/livez is %d when it is full", got.status)
		}
		one.ws.Close()
		eventually(t, "there is room again", func() bool { return g.opsCall(t, "GET", "/readyz").status == 200 })
		dial(t, g, "three").nothing()
	})
}

func TestOpsEndpoints(t *testing.T) {
	t.Parallel()
	guarded := []struct{ method, path string }{{"GET", "/statusz"}, {"POST", "/shed?count=1"}, {"GET", "/debug/pprof/"}, {"GET", "/debug/pprof/cmdline"}, {"POST", "/drain"}}

	holds(t, "The bearer token of the guarded endpoints. … /livez, /readyz and /metrics are open to everybody who reaches the port. The others want the token of --ops-token-file as Authorization: Bearer TOKEN … The file is read at each request, so a changed token holds at once.", func(t *testing.T) {
		tokenFile := file(t, "token", opsToken+"\n")
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=1h", "--ops-token-file="+tokenFile)
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			if got := g.opsCall(t, "GET", path); got.status != 200 {
				t.Errorf("%s without a token is %d", path, got.status)
			}
		}
		for _, test := range guarded {
			for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", opsToken}} {
				wantRefusal(t, g.opsCall(t, test.method, test.path, header...), 401, "unauthorized")
			}
		}
		for _, test := range guarded {
			if got := g.opsCall(t, test.method, test.path, "Authorization", "Bearer "+opsToken); got.status/100 != 2 {
				t.Errorf("%s with the token is %d", test.path, got.status)
			}
		}
		changed := secret("another-ops-token-of-the-contract")
		replaceFile(t, tokenFile, changed)
		wantRefusal(t, g.opsCall(t, "GET", "/statusz", "Authorization", "Bearer "+opsToken), 401, "unauthorized")
		if got := g.opsCall(t, "GET", "/statusz", "Authorization", "Bearer "+changed); got.status != 200 {
			t.Errorf("/statusz with the changed token is %d", got.status)
		}
	})

	holds(t, "Without it they answer only requests from this machine. … where no token is set they answer requests from loopback only.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--ops-listen=0.0.0.0:0", "--drain-delay=1h")
		_, port, err := net.SplitHostPort(g.ops)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := ""
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() {
				elsewhere = network.IP.String()
			}
		}
		for _, test := range guarded {
			if got := ask(t, test.method, "http://127.0.0.1:"+port+test.path, ""); got.status/100 != 2 {
				t.Errorf("%s from loopback is %d", test.path, got.status)
			}
			if elsewhere != "" {
				wantRefusal(t, ask(t, test.method, "http://"+elsewhere+":"+port+test.path, ""), 403, "forbidden")
			}
		}
	})

	holds(t, "GET /statusz | the state of this process as JSON: node, version, phase, connections, rooms, users, the link to Redis", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--node=the-node")
		for _, user := range []string{"a", "a", "b"} {
			dial(t, g, user).join("r", user)
		}
		got := g.opsCall(t, "GET", "/statusz")
		status := decode(t, []byte(got.body))
		if got.header.Get("Content-Type") != "application/json" || status["node"] != "the-node" || status["version"] == "" || status["phase"] != "serving" || status["ready"] != true ||
			status.number("connections") != 3 || status.number("rooms") != 3 || status.number("users") != 2 || status["backplane"].(map[string]any)["up"] != true {
			t.Errorf("/statusz is %s", got.body)
		}
	})

	holds(t, "POST /shed?count=N | asks N clients to connect anew, with reason: rebalancing, at the drain rate; the answer is {\"shed\": N}, less if fewer are there. A client that is moving already is not asked again", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-rate=1000")
		for _, query := range []string{"", "?count=0", "?count=-1", "?count=x"} {
			wantRefusal(t, g.opsCall(t, "POST", "/shed"+query), 400, "bad_request")
		}
		if got := g.opsCall(t, "GET", "/shed?count=1"); got.status != 405 {
			t.Errorf("GET /shed is %d", got.status)
		}
		var all []*client
		for range 3 {
			all = append(all, dial(t, g, "user"))
		}
		for i, want := range []int{2, 1, 0} {
			count := []int{2, 5, 5}[i]
			if got := g.opsCall(t, "POST", fmt.Sprintf("/shed?count=%d", count)); got.status != 200 || strings.TrimSpace(got.body) != fmt.Sprintf(`{"shed":%d}`, want) {
				t.Errorf("POST /shed?count=%d is %d %s, want %d", count, got.status, got.body, want)
			}
		}
		for _, c := range all {
			got := c.next()
			if got.number("delay_ms") < 0 || got.number("delay_ms") > 1000 {
				t.Errorf("got %v, want a delay by the rate", got)
			}
			delete(got, "delay_ms")
			isFields(t, got, `{"type":"reconnect","reason":"rebalancing"}`)
		}
		for _, c := range all {
			c.closed(1012)
		}
		dial(t, g, "user").nothing() // it serves on
	})

	holds(t, "GET /debug/pprof/ | Go's profiles", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted")
		if got := g.opsCall(t, "GET", "/debug/pprof/goroutine?debug=1"); got.status != 200 || !strings.Contains(got.body, "goroutine profile") {
			t.Errorf("the profile of goroutines is %d %.100s", got.status, got.body)
		}
	})
}

func TestLeaving(t *testing.T) {
	t.Parallel()

	holds(t, "On SIGTERM or SIGINT, or POST /drain, a gateway … /readyz fails at once, and the gateway serves on for this long, until load balancers have noticed. … fails /readyz at once, and serves on for drain-delay, new clients too, until load balancers have noticed; … refuses new clients with 503 draining, and sends every client a reconnect with a delay of its own, spread by drain-rate; … closes each client some time after its delay, at most 5 s, with 1012; … publishes what it had taken, and ends with status 0.", func(t *testing.T) {
		r := startRedis(t)
		flags := []string{"--auth=trusted", "--backplane=" + r.url(), "--drain-rate=10", "--drain-timeout=8s"}
		g, other := startGateway(t, fleetConfig, append(flags, "--drain-delay=3s")...), startGateway(t, fleetConfig, flags...)
		watcher := dial(t, other, "watcher")
		watcher.join("log-1")
		var all []*client
		for range 8 {
			c := dial(t, g, name("user"))
			c.join("log-1")
			all = append(all, c)
		}
		begin := time.Now()
		g.signal(t, syscall.SIGTERM)
		eventually(t, "/readyz fails", func() bool { return g.opsCall(t, "GET", "/readyz").status == 503 })
		if got := g.opsCall(t, "GET", "/livez"); got.status != 200 {
			t.Errorf("/livez is %d while it leaves", got.status)
		}
		if time.Since(begin) < 2*time.Second { // else this machine was too slow to look into the delay
			late := dial(t, g, "late")
			late.join("log-1")
			data, _ := late.publish("log-1")
			watcher.message(data)
			all = append(all, late)
		}
		var delays []int64
		for _, c := range all {
			got := c.typed("reconnect")
			if got["reason"] != "draining" {
				t.Errorf("got %v, want the reason draining", got)
			}
			delays = append(delays, got.number("delay_ms"))
		}
		if took := time.Since(begin); took < 3*time.Second {
			t.Errorf("the clients were sent away after %v, want the delay of 3 s first", took)
		}
		slices.Sort(delays)
		if last := delays[len(delays)-1]; last < 500 || last > 1000 || len(slices.Compact(delays)) < len(all)-2 {
			t.Errorf("the delays are %v, want them spread over %d clients at 10 a second", delays, len(all))
		}
		got := handshake(t, g, "/ws?user_id=x")
		wantRefusal(t, got, 503, "draining")
		wantRetryAfter(t, got)
		last, _ := all[0].publish("log-1") // the old connection stays usable
		watcher.find(func(f frame) bool { return quoted(f.text("data")) == last })
		for i := range 50 {
			all[1].send(fmt.Sprintf(`{"type":"publish","room_id":"log-1","data":"last %d"}`, i))
		}
		for _, c := range all {
			c.closed(1012)
		}
		g.drained(t)
		watcher.find(func(f frame) bool { return f["data"] == "last 49" })
	})

	holds(t, "It ends as soon as everybody has gone.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=0", "--drain-timeout=1h", "--drain-rate=1")
		c := dial(t, g, "user")
		if got := g.opsCall(t, "POST", "/drain"); got.status != 202 {
			t.Errorf("POST /drain is %d", got.status)
		}
		c.typed("reconnect")
		c.ws.Close()
		g.drained(t)
	})

	holds(t, "everybody is gone by then, whatever the rate. … If drain-timeout is too short for the rate, the timeout wins: clients are sent away faster, wscluster_drain_hurried is 1, and a log line says which timeout is needed.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=0", "--drain-timeout=2s", "--drain-rate=1")
		var all []*client
		for range 30 {
			all = append(all, dial(t, g, "user"))
		}
		if got := g.metric(t, "wscluster_drain_hurried"); got != 0 {
			t.Errorf("before it drains wscluster_drain_hurried is %v", got)
		}
		g.signal(t, syscall.SIGINT)
		for _, c := range all {
			if got := c.typed("reconnect").number("delay_ms"); got > 2000 {
				t.Errorf("a client is to come back after %d ms, want 2 s at most", got)
			}
		}
		if got := g.metric(t, "wscluster_drain_hurried"); got != 1 {
			t.Errorf("wscluster_drain_hurried is %v, want 1", got)
		}
		for _, c := range all {
			c.closed(1012)
		}
		g.drained(t)
		if !strings.Contains(g.log.String(), "the drain timeout is too short for the drain rate") || !strings.Contains(g.log.String(), `"needed_timeout":`) {
			t.Error("no log line says that the timeout is too short")
		}
	})

	holds(t, "A second signal ends it at once.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=1h", "--drain-timeout=1h")
		dial(t, g, "user")
		g.signal(t, syscall.SIGTERM)
		eventually(t, "it leaves", func() bool { return g.opsCall(t, "GET", "/readyz").status == 503 })
		g.signal(t, syscall.SIGTERM)
		select {
		case <-g.ended:
		case <-time.After(patience):
			t.Error("it goes on")
		}
	})

	holds(t, "POST /drain | leaves as on SIGTERM, and answers 202 at once", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--drain-delay=0", "--drain-timeout=1s")
		c := dial(t, g, "user")
		if got := g.opsCall(t, "POST", "/drain"); got.status != 202 {
			t.Errorf("POST /drain is %d", got.status)
		}
		c.closed(1012)
		g.drained(t)
	})
}

// certificate writes a certificate for 127.0.0.1 with this serial number to the two files.
func certificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gateway"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	replaceFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	holds(t, "Serve TLS on the public port, with this certificate chain (PEM). … The private key of that certificate (PEM). … With --tls-cert-file and --tls-key-file the public port speaks TLS, 1.2 at least. When the files change, connections to come get the new certificate, and those that are there stay.", func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		certificate(t, certFile, keyFile, 1)
		g := startGateway(t, "", "--auth=trusted", "--tls-cert-file="+certFile, "--tls-key-file="+keyFile)
		connect := func() (*client, int64) {
			dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the certificate is its own authority; its number is looked at
			ws, _, err := dialer.DialContext(t.Context(), "wss://"+g.public+"/ws?user_id=x", nil)
			if err != nil {
				t.Fatal(err)
			}
			state := ws.NetConn().(*tls.Conn).ConnectionState()
			if state.Version < tls.VersionTLS12 {
				t.Errorf("the connection has TLS version %x", state.Version)
			}
			return newClient(t, ws), state.PeerCertificates[0].SerialNumber.Int64()
		}
		old, serial := connect()
		if serial != 1 {
			t.Errorf("the certificate's number is %d", serial)
		}
		if _, err := tls.Dial("tcp", g.public, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // it has to be refused
			t.Error("TLS 1.1 is spoken")
		}
		certificate(t, certFile, keyFile, 2)
		eventually(t, "the new certificate is shown", func() bool { _, serial := connect(); return serial == 2 })
		old.nothing()
		replaceFile(t, certFile, "no certificate") // changes nothing
		eventually(t, "the log says so", func() bool { return strings.Contains(g.log.String(), "certificate") })
		if _, serial := connect(); serial != 2 {
			t.Errorf("after a file that is wrong the certificate's number is %d", serial)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()

	holds(t, "GET /metrics, for Prometheus. Every name and label value is there from the start, at zero.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted")
		for _, sample := range []string{
			"wscluster_connections", "wscluster_rooms", "wscluster_users", "wscluster_messages_delivered_total", "wscluster_publish_duration_seconds_count",
			"wscluster_publish_duration_seconds_sum", "wscluster_delivery_lag_seconds_count", "wscluster_send_queue_bytes", "wscluster_slow_consumers_total",
			"wscluster_backplane_reconnects_total", "wscluster_gap_repairs_total", "wscluster_messages_lost_total", "wscluster_drain_hurried",
		} {
			if got := g.metric(t, sample); got != 0 {
				t.Errorf("%s is %v at the start, want 0", sample, got)
			}
		}
		for label, values := range map[string]string{
			"wscluster_connects_total{result":              "ok bad_request unauthorized unavailable origin_denied draining overloaded throttled rate_limited",
			"wscluster_disconnects_total{reason":           "client_closed client_gone heartbeat_timeout slow_consumer protocol_error bad_frames draining rebalancing disconnected replaced token_expired overloaded",
			"wscluster_messages_received_total{type":       "unknown join leave publish presence history auth ping",
			"wscluster_errors_total{code":                  "bad_request unknown_type unauthorized forbidden not_joined rate_limited room_limit conflict unconfirmed unavailable internal",
			"wscluster_publish_duration_seconds_bucket{le": "+Inf",
			"wscluster_delivery_lag_seconds_bucket{le":     "+Inf",
		} {
			for value := range strings.FieldsSeq(values) {
				if got := g.metric(t, label+`="`+value+`"}`); got != 0 {
					t.Errorf(`%s="%s"} is %v at the start, want 0`, label, value, got)
				}
			}
		}
		for sample, want := range map[string]float64{"wscluster_backplane_up": 1, "wscluster_ready": 1} {
			if got := g.metric(t, sample); got != want {
				t.Errorf("%s is %v, want %v", sample, got, want)
			}
		}
	})

	holds(t, "clients connected to this process … rooms with a member here, users with a connection here … connection attempts by how they ended: ok, or why not … ended connections by the reason … frames from clients by command … messages handed to clients … commands that failed, by the code that the client got … time from a publish to Redis's confirmation … time from a message's ts to the socket write here", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted")
		one, two := dial(t, g, "a"), dial(t, g, "a")
		one.join("r", "s")
		two.join("r")
		data, _ := one.publish("r")
		one.message(data)
		two.message(data)
		one.refused("not_joined", `{"type":"publish","room_id":"elsewhere","data":1}`)
		one.send("no JSON")
		wantError(t, one.next(), "bad_request")
		handshake(t, g, "/ws")
		dial(t, g, "b").ws.Close()
		for sample, want := range map[string]float64{
			"wscluster_connections": 2, "wscluster_rooms": 2, "wscluster_users": 1, `wscluster_connects_total{result="ok"}`: 3, `wscluster_connects_total{result="bad_request"}`: 1,
			`wscluster_disconnects_total{reason="client_gone"}`: 1, `wscluster_messages_received_total{type="join"}`: 3, `wscluster_messages_received_total{type="publish"}`: 2,
			`wscluster_messages_received_total{type="unknown"}`: 1, "wscluster_messages_delivered_total": 2, `wscluster_errors_total{code="not_joined"}`: 1,
			`wscluster_errors_total{code="bad_request"}`: 1, "wscluster_publish_duration_seconds_count": 1, "wscluster_delivery_lag_seconds_count": 2,
		} {
			eventually(t, fmt.Sprintf("%s is %v (it is %v)", sample, want, g.metric(t, sample)), func() bool { return g.metric(t, sample) == want })
		}
	})

	holds(t, "No label grows with users or rooms.", func(t *testing.T) {
		g := startGateway(t, fleetConfig, "--auth=trusted")
		count := func() int { return strings.Count(g.opsCall(t, "GET", "/metrics").body, "\nwscluster_") }
		before := count()
		for range 20 {
			c := dial(t, g, name("a-user-of-its-own"))
			c.join(name("log"), name("present"))
			c.acked(`{"type":"publish","target_user_id":"` + name("another-user") + `","data":1}`)
		}
		if after := count(); after != before {
			t.Errorf("there were %d samples, and are %d", before, after)
		}
		if body := g.opsCall(t, "GET", "/metrics").body; strings.Contains(body, "a-user-of-its-own") {
			t.Error("a user id is in /metrics")
		}
	})
}

func TestLogs(t *testing.T) {
	t.Parallel()

	holds(t, "One line an event, as JSON or text, on standard error. Lines about a connection carry connection_id and user_id. No line holds a token, a key or what a message says. … and never logs a token. … A connection's lines carry connection_id and user_id; no line holds a token or what a message says.", func(t *testing.T) {
		f := shared(t)
		T, data := jwtOf(t, claims{"sub": "the-user-of-the-log"}), payload()
		c := dialWith(t, "ws://"+f.tokens.public+"/ws?token="+T, map[string][]string{"Authorization": {"Bearer " + T}}, subprotocol, "bearer."+T)
		id := c.welcome.text("connection_id")
		c.join("log-of-the-log")
		c.acked(`{"type":"publish","room_id":"log-of-the-log","data":` + data + `}`)
		c.refused("forbidden", `{"type":"publish","room_id":"closed-1","data":`+data+`}`)
		c.send(data)
		c.refused("unauthorized", `{"type":"auth","token":"`+T+`x"}`)
		c.acked(`{"type":"auth","token":"` + T + `"}`)
		wantUnauthorized(t, f.tokens, T+"x")
		f.tokens.call(t, "POST", "/v1/rooms/log-of-the-log/messages", `{"data":`+data+`}`)
		c.ws.Close()
		eventually(t, "the log tells of the end", func() bool {
			return strings.Count(f.tokens.log.String(), `"connection_id":"`+id+`","user_id":"the-user-of-the-log"`) >= 2
		})
		for row := range strings.Lines(f.tokens.log.String()) {
			var entry struct{ Time, Level, Msg string }
			if err := json.Unmarshal([]byte(row), &entry); err != nil || entry.Time == "" || entry.Level == "" || entry.Msg == "" {
				t.Errorf("a line of the log is %q", row)
			}
		}
		for _, hidden := range []string{T, strings.Trim(data, `"`), apiKey, jwtSecret} {
			if strings.Contains(f.tokens.log.String(), hidden) {
				t.Errorf("the log holds %.40s", hidden)
			}
		}
		// TestMain looks for all tokens and payloads of all tests in the logs of all gateways.
	})

	holds(t, "debug, info, warn or error. … json or text.", func(t *testing.T) {
		quiet := startGatewayQuietly(t, "--log-level=error")
		if got := quiet.String(); got != "" {
			t.Errorf("at the level error a gateway says %q", got)
		}
		text := startGatewayQuietly(t, "--log-format=text")
		if got := text.String(); !regexp.MustCompile(`(?m)^time=\S+ level=INFO msg="gateway is up" `).MatchString(got) {
			t.Errorf("as text the log is %q", got)
		}
	})

	holds(t, "The line gateway is up in the log says where it listens, which matters with port 0. … Port 0 takes any free one.", func(t *testing.T) {
		f := shared(t)
		for _, address := range []string{f.a.public, f.a.api, f.a.ops} {
			if !strings.HasPrefix(address, "127.0.0.1:") || strings.HasSuffix(address, ":0") {
				t.Errorf("it listens on %q", address)
			}
		}
		if g := startGateway(t, "", "--auth=trusted"); g.api != "" {
			t.Errorf("without a key file the server API listens on %q", g.api)
		}
	})
}

// startGatewayQuietly runs a gateway that may not say where it listens, until it answers.
func startGatewayQuietly(t *testing.T, flags ...string) *buffer {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	g, log := command(append([]string{"--listen=127.0.0.1:0", fmt.Sprintf("--ops-listen=127.0.0.1:%d", port)}, flags...)...), &buffer{}
	g.Stderr = log
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Process.Kill(); _ = g.Wait() })
	eventually(t, "it answers", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	eventually(t, "it is ready", func() bool { return ask(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/readyz", port), "").status == 200 })
	return log
}
