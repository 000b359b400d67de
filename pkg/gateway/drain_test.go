package gateway

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

func TestDrain(t *testing.T) {
	const delay, clients, rate = 700 * time.Millisecond, 10, 20
	n := start(t, "memory://", func(s *settings.Settings) {
		s.Drain = settings.Drain{Delay: delay, Timeout: 4 * time.Second, Rate: rate}
	})
	var all []*client
	for range clients {
		c := n.dial(t, "alice")
		c.join("r")
		all = append(all, c)
	}
	begin := time.Now()
	n.leave()

	// It fails readiness at once, and keeps serving for the delay.
	eventually(t, "/readyz fails", func() bool { return n.ops(t, "/readyz").status == http.StatusServiceUnavailable })
	if took := time.Since(begin); took > delay/2 {
		t.Errorf("/readyz failed after %v, want at once", took)
	}
	if got := n.ops(t, "/livez"); got.status != http.StatusOK {
		t.Errorf("while draining /livez is %d, want 200", got.status)
	}
	all = append(all, n.dial(t, "late"))
	all[0].do(`{"type":"publish","id":"1","target_user_id":"late","data":1}`, `{"type":"ack","id":"1","message_id":"<anything>"}`)
	all[clients].want(`{"type":"message","message_id":"<anything>","target_user_id":"late","from":"alice","ts":"<anything>","data":1}`)
	for _, c := range all {
		c.nothing() // nobody was sent away so far
	}
	if took := time.Since(begin); took > delay {
		t.Skipf("this machine needed %v for what has to happen within %v", took, delay)
	}

	// Then every client is asked to connect anew, each after its own delay.
	var delays []int64
	for _, c := range all {
		delays = append(delays, c.wantReconnect("draining"))
	}
	if took := time.Since(begin); took < delay {
		t.Errorf("the clients were sent away after %v, want %v at the earliest", took, delay)
	}
	slices.Sort(delays)
	spread := int64(len(all) * 1000 / rate)
	if first, last := delays[0], delays[len(delays)-1]; first > 2*1000/rate || last > spread || last < spread-2*1000/rate {
		t.Errorf("the delays are %v ms, want them spread over %d ms", delays, spread)
	}
	for i := range delays[:len(delays)-1] {
		if gap := delays[i+1] - delays[i]; gap > 2*1000/rate {
			t.Errorf("nobody comes for %d ms: the delays are %v", gap, delays)
		}
	}

	// New clients are refused, old connections stay usable until the close.
	wantRefusal(t, request(t, http.MethodGet, "http://"+n.Addr().String()+"/ws?user_id=bob", handshake()), http.StatusServiceUnavailable, protocol.CodeDraining)
	all[1].nothing()
	for _, c := range all {
		c.wantClose(protocol.CloseRestart)
	}
	select {
	case <-n.done:
	case <-time.After(patience):
		t.Fatal("the gateway did not end after its last client")
	}
	if n.metrics.disconnects[socket.Draining].Load() == 0 || strings.Contains(n.log.String(), "too short for the drain rate") {
		t.Errorf("the drain was not one at its own rate: %s", n.log)
	}
}

// wantReconnect takes a reconnect frame and returns its delay_ms.
func (c *client) wantReconnect(reason string) int64 {
	c.t.Helper()
	frame := c.next()
	delay, isNumber := frame["delay_ms"].(json.Number)
	ms, err := delay.Int64()
	if frame["type"] != "reconnect" || frame["reason"] != reason || !isNumber || err != nil || ms < 0 || len(frame) != 3 {
		c.t.Fatalf("got %v, want a reconnect frame for %s", frame, reason)
	}
	return ms
}

func TestADrainTimeoutTooShortForTheRateWinsAndSaysSo(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Drain = settings.Drain{Timeout: time.Second, Rate: 1} })
	var all []*client
	for range 20 {
		all = append(all, n.dial(t, "alice"))
	}
	if got := n.metric(t, "wscluster_drain_hurried"); got != 0 {
		t.Errorf("before a drain wscluster_drain_hurried is %v", got)
	}
	begin := time.Now()
	n.leave()
	for _, c := range all {
		c.wantReconnect("draining")
	}
	if got := n.metric(t, "wscluster_drain_hurried"); got != 1 {
		t.Errorf("wscluster_drain_hurried is %v, want 1", got)
	}
	if !strings.Contains(n.log.String(), "the drain timeout is too short for the drain rate") {
		t.Errorf("the log does not say that the timeout is too short: %s", n.log)
	}
	if needed := regexp.MustCompile(`"needed_timeout":"([^"]+)"`).FindStringSubmatch(n.log.String()); needed == nil {
		t.Error("the log does not say which timeout is needed")
	} else if timeout, err := time.ParseDuration(needed[1]); err != nil || isTooShort(20, timeout, 1) || !isTooShort(20, timeout-time.Second, 1) {
		t.Errorf("the log says that %s are needed, which are too few or too many", needed[1])
	}
	for _, c := range all {
		c.wantClose(protocol.CloseRestart)
	}
	<-n.done
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the drain took %v, want its timeout of 1s", took)
	}
}

func TestADrainThatIsCutEndsAtOnce(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) {
		s.Drain = settings.Drain{Delay: time.Hour, Timeout: time.Hour, Rate: 1}
	})
	n.dial(t, "alice")
	n.leave()
	eventually(t, "the drain has begun", func() bool { return n.ops(t, "/readyz").status == http.StatusServiceUnavailable })
	n.cut()
	select {
	case <-n.done:
	case <-time.After(patience):
		t.Fatal("the gateway goes on draining")
	}
}

func TestDrainAndShedOverTheOpsPort(t *testing.T) {
	n := start(t, "memory://", func(s *settings.Settings) { s.Drain.Timeout = 2 * time.Second })
	a, b := n.dial(t, "a"), n.dial(t, "b")
	ops := "http://" + n.OpsAddr().String()
	if got := request(t, http.MethodPost, ops+"/shed?count=1", nil); got.status != http.StatusOK || got.body != "{\"shed\":1}\n" {
		t.Fatalf("POST /shed is %d %s, want one client shed", got.status, got.body)
	}
	shed, kept := a, b
	select {
	case frame := <-b.frames:
		shed, kept = b, a
		b.frames <- frame
	case frame := <-a.frames:
		a.frames <- frame
	}
	shed.wantReconnect("rebalancing")
	kept.nothing()
	for _, path := range []string{"/shed", "/shed?count=0", "/shed?count=x"} {
		wantRefusal(t, request(t, http.MethodPost, ops+path, nil), http.StatusBadRequest, protocol.CodeBadRequest)
	}
	if got := request(t, http.MethodPost, ops+"/drain", nil); got.status != http.StatusAccepted {
		t.Fatalf("POST /drain is %d %s", got.status, got.body)
	}
	kept.wantReconnect("draining")
	shed.wantClose(protocol.CloseRestart)
	kept.wantClose(protocol.CloseRestart)
	<-n.done
}

// isTooShort says whether a timeout is too short for a gateway that drains alone.
func isTooShort(clients int, timeout time.Duration, rate int) bool {
	spread, _ := drainTimes(timeout)
	return tooLate(time.Duration(clients)*time.Second/time.Duration(rate), spread)
}

func TestWhichDrainTimeoutIsTooShort(t *testing.T) {
	for name, test := range map[string]struct {
		clients int
		timeout time.Duration
		rate    int
		want    bool
	}{
		"nobody is there":                 {0, time.Minute, 500, false},
		"20,000 clients at 500 a second":  {20_000, time.Minute, 500, false},
		"as many as just fit":             {25_000, time.Minute, 500, false},
		"a second more than fits":         {25_500, time.Minute, 500, true},
		"a timeout shorter than the pair": {1000, 2 * time.Second, 1, true},
		"no time at all":                  {1000, 0, 500, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isTooShort(test.clients, test.timeout, test.rate); got != test.want {
				t.Errorf("%d clients at %d a second in %v: too short is %v, want %v", test.clients, test.rate, test.timeout, got, test.want)
			}
		})
	}
}
