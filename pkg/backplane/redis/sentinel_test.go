package redis

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// watched is a primary with a replica and three sentinels that know each other.
type watched struct {
	primary, replica *redistest.Server
	url              string
	sentinels        []string
}

func startWatched(t *testing.T) *watched {
	w := &watched{primary: redistest.Start(t, "--repl-diskless-sync-delay", "0"), replica: redistest.Start(t, "--repl-diskless-sync-delay", "0")}
	follow(t, w.replica, w.primary)
	for range 3 {
		w.sentinels = append(w.sentinels, redistest.StartSentinel(t, "chat", w.primary, 2).Addr)
	}
	w.url = "redis+sentinel://" + strings.Join(w.sentinels, ",") + "?master=chat"
	await(t, "the sentinels to know each other and the replica", func() bool {
		for _, addr := range w.sentinels {
			values, err := admin(t, addr).Do(t.Context(), "SENTINEL", "MASTER", "chat").StringSlice()
			text := " " + strings.Join(values, " ") + " "
			if err != nil || !strings.Contains(text, " num-other-sentinels 2 ") || !strings.Contains(text, " num-slaves 1 ") {
				return false
			}
		}
		return true
	})
	return w
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestAKilledPrimaryIsFollowedByTheSentinelsChoice(t *testing.T) {
	w := startWatched(t)
	b, sink := start(t, Options{URL: w.url})
	target := room("failover")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	replicated := &backplane.Keep{Size: 1000, TTL: time.Hour, MinReplicas: 1}
	var bodies []string
	var before backplane.Receipt
	for len(bodies) < 20 {
		body := fmt.Sprint("before ", len(bodies))
		o := backplanetest.Publish(t, b, &backplane.Message{Target: target, Body: []byte(body), Keep: replicated})
		if o.Err == nil { // a replica may need a while to confirm on a busy machine; then the message is not among the promised
			bodies, before = append(bodies, body), o.Receipt
		}
	}
	w.primary.Kill()
	var after backplane.Receipt
	await(t, "a publication to the new primary", func() bool {
		o := backplanetest.Publish(t, b, kept(target, "after"))
		after = o.Receipt
		return o.Err == nil
	})
	if after.Epoch == before.Epoch || after.Offset <= before.Offset {
		t.Errorf("after the failover a message got %+v, want a later offset than %+v in a new epoch", after, before)
	}
	page := readAll(t, b, target)
	have := make(map[string]bool)
	for _, body := range bodiesOf(page) {
		have[body] = true
	}
	for _, body := range bodies {
		if !have[body] {
			t.Errorf("%q was confirmed by the replica and is lost", body)
		}
	}
	if page.Previous.Epoch != before.Epoch {
		t.Errorf("the log names %+v as the epoch before, want %s", page.Previous, before.Epoch)
	}
	awaitUp(t, b)
	sink.AwaitSubscribed(target, 2)

	// The old primary comes back, believing for a while that it is still the one.
	w.primary.Restart()
	last := after.Offset
	await(t, "the old primary to be a replica", func() bool {
		receipt := mustKeep(t, b, kept(target, "while the old one is back"))
		if receipt.Epoch != after.Epoch || receipt.Offset != last+1 {
			t.Fatalf("a message got %+v, want offset %d of epoch %s: it went elsewhere", receipt, last+1, after.Epoch)
		}
		last++
		role, err := admin(t, w.primary.Addr).Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "slave"
	})
	stats, err := admin(t, w.primary.Addr).Info(t.Context(), "commandstats").Result()
	if err != nil || strings.Contains(stats, "cmdstat_evalsha:") {
		t.Errorf("the old primary was used by the backplane (%v):\n%s", err, stats)
	}
	backplanetest.MustPublish(t, b, text(target, "the last"))
	await(t, "the last message", func() bool {
		got := sink.AwaitBodies(target, 1)
		return got[len(got)-1] == "the last"
	})
}

// chorus is as many sentinels as asked for that say what the test wants, over real connections.
type chorus struct {
	t     *testing.T
	addrs []string

	mu         sync.Mutex
	primary    string
	epoch      int
	stale      string // what the first of them says
	subscribed []net.Conn
}

func startChorus(t *testing.T, count int, primary string) *chorus {
	return startTLSChorus(t, count, primary, nil)
}

// startTLSChorus is startChorus with TLS, unless config is nil.
func startTLSChorus(t *testing.T, count int, primary string, config *tls.Config) *chorus {
	c := &chorus{t: t, primary: primary, epoch: 1}
	for i := range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if config != nil {
			l = tls.NewListener(l, config)
		}
		t.Cleanup(func() { _ = l.Close() })
		c.addrs = append(c.addrs, l.Addr().String())
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go c.serve(conn, i)
			}
		}()
	}
	return c
}

func (c *chorus) url() string {
	return "redis+sentinel://" + strings.Join(c.addrs, ",") + "?master=chat"
}

func (c *chorus) serve(conn net.Conn, i int) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		c.mu.Lock()
		switch lines.Text() {
		case "MASTER":
			primary, epoch := c.primary, c.epoch
			if i == 0 && c.stale != "" {
				primary, epoch = c.stale, 1
			}
			host, port, _ := net.SplitHostPort(primary)
			_, _ = conn.Write(appendCommand(nil, "name", "chat", "ip", host, "port", port, "config-epoch", epoch))
		case "+switch-master":
			c.subscribed = append(c.subscribed, conn)
			_, _ = conn.Write([]byte("*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"))
		case "PING":
			_, _ = conn.Write([]byte("*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
		}
		c.mu.Unlock()
	}
}

// choose makes another server the primary, and tells of it or not.
func (c *chorus) choose(primary string, tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, to := strings.Replace(c.primary, ":", " ", 1), strings.Replace(primary, ":", " ", 1)
	c.primary = primary
	c.epoch++
	for _, conn := range c.subscribed {
		if tell {
			_, _ = conn.Write([]byte(message("+switch-master", "other "+to+" "+from) + message("+switch-master", "chat "+from+" "+to)))
		}
	}
}

// awaitSubscribedOnly waits until only the given one of two servers is subscribed to the target.
func awaitSubscribedOnly(t *testing.T, target backplane.Target, has, hasNot *redistest.Server) {
	t.Helper()
	channel := string(newNames("test", false).appendChannel(nil, target))
	await(t, "the subscription to move", func() bool {
		numbers := [2]int64{}
		for i, server := range []*redistest.Server{has, hasNot} {
			n, err := admin(t, server.Addr).PubSubNumSub(t.Context(), channel).Result()
			if err != nil {
				t.Fatal(err)
			}
			numbers[i] = n[channel]
		}
		return numbers == [2]int64{1, 0}
	})
}

// A primary that the sentinels cannot reach, but we can, goes on as if nothing had happened; we must leave it all the same.
func TestAPrimaryThatIsDeposedAndLivesOnIsLeft(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	for _, tell := range []bool{true, false} {
		t.Run(fmt.Sprintf("told %v", tell), func(t *testing.T) {
			c := startChorus(t, 3, first.Addr)
			b, sink := start(t, Options{URL: c.url(), Timing: Timing{Ping: 50 * time.Millisecond, Silence: 3 * time.Second}})
			target := room("deposed")
			b.Subscribe(target)
			sink.AwaitSubscribed(target, 1)
			awaitSubscribedOnly(t, target, first, second)
			c.mu.Lock()
			c.stale = first.Addr // and one of them has not heard of it
			c.mu.Unlock()
			c.choose(second.Addr, tell)
			awaitSubscribedOnly(t, target, second, first)
			awaitUp(t, b)
			backplanetest.MustPublish(t, b, text(target, "through"))
			sink.AwaitBodies(target, 1)
			closeNow(b)
		})
	}
}

func TestWhatSentinelsNameIsNotBelievedBlindly(t *testing.T) {
	primary, replica := redistest.Start(t, "--repl-diskless-sync-delay", "0"), redistest.Start(t)
	follow(t, replica, primary)
	c := startChorus(t, 3, replica.Addr)
	wantNoLink(t, Options{URL: c.url()}, "ROLE says [slave")
	wantNoLink(t, Options{URL: "redis+sentinel://" + primary.Addr + "?master=chat"}, "ask the sentinel "+primary.Addr)
	closed := startChorus(t, 1, primary.Addr)
	wantNoLink(t, Options{URL: "redis+sentinel://127.0.0.1:1?master=chat"}, `no sentinel names the primary "chat"`)
	// One that answers is enough when the others are away.
	roundTrip(t, Options{URL: "redis+sentinel://127.0.0.1:1,127.0.0.1:2," + closed.addrs[0] + "?master=chat"})
}

func TestSentinelsAndThePrimaryAreReachedOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	certFile, keyFile := ours.issue("redis.example")
	clientCert, clientKey := ours.issue("gateway")
	server := redistest.Start(t, "--tls-port", "0", "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", ours.file)
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	c := startTLSChorus(t, 3, server.Addr, &tls.Config{Certificates: []tls.Certificate{certificate}})
	o := Options{URL: "rediss" + strings.TrimPrefix(c.url(), "redis"), CAFile: ours.file, CertFile: clientCert, KeyFile: clientKey}
	roundTrip(t, o)
	o.CAFile = theirs.file
	wantNoLink(t, o, "unknown authority")
}

func TestAnswersOfSentinelsAreRead(t *testing.T) {
	if a, err := readAnswer([]any{"ip", "::1", "port", "7000", "config-epoch", "12", "odd"}); err != nil || a.addr != "[::1]:7000" || a.epoch != 12 {
		t.Errorf("read %+v and %v", a, err)
	}
	for _, reply := range []any{nil, "x", []any{}, []any{"ip", "h", "port", "1"}, []any{"port", "1", "config-epoch", "1"}, []any{int64(1), "x"}, []any{"ip", int64(1)}} {
		if a, err := readAnswer(reply); err == nil {
			t.Errorf("%v is read as %+v", reply, a)
		}
	}
}
