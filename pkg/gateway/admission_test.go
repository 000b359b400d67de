package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A crowd that does as it is told must come back as fast as it is let in: neither all in one second, nor minutes later.
func TestARefusedCrowdIsSpreadOverTheTimeThatItTakes(t *testing.T) {
	for _, test := range []struct{ crowd, rate int }{{20_000, 1000}, {3000, 1000}, {500, 100}, {200, 1000}} {
		t.Run(fmt.Sprintf("%d at %d a second", test.crowd, test.rate), func(t *testing.T) {
			var a admission
			limits := &settings.Limits{ConnectsPerSecond: test.rate}
			due := map[int]int{0: test.crowd} // attempts by the second in which they come
			in, attempts, second := 0, 0, 0
			for ; in < test.crowd; second++ {
				if second > 300 {
					t.Fatalf("after %d s %d of %d are in", second, in, test.crowd)
				}
				for i := range due[second] {
					// The clients of one second come evenly spread over it, but for the first, who all come at once.
					now := epoch.Add(time.Duration(second) * time.Second)
					if second > 0 {
						now = now.Add(time.Duration(i) * time.Second / time.Duration(due[second]))
					}
					attempts++
					result, after := a.admit(now, netip.Addr{}, limits)
					switch {
					case result == connectOK:
						in++
					case result != connectThrottled || after < 1 || after > maxRetryAfter:
						t.Fatalf("refused as %s with Retry-After %d", connectResultNames[result], after)
					default:
						due[second+after]++
					}
				}
			}
			if most := 3 + 3*test.crowd/test.rate; second > most {
				t.Errorf("the last was let in after %d s, want %d at most", second, most)
			}
			if attempts > 4*test.crowd {
				t.Errorf("%d clients needed %d attempts: they were told to come back too early", test.crowd, attempts)
			}
		})
	}
}

func TestTheLimitOfAttemptsHoldsOverTime(t *testing.T) {
	var a admission
	limits := &settings.Limits{ConnectsPerSecond: 100}
	in := 0
	for i := range 10_000 { // 1000 a second for 10 s
		if result, _ := a.admit(epoch.Add(time.Duration(i)*time.Millisecond), netip.Addr{}, limits); result == connectOK {
			in++
		}
	}
	if in < 990 || in > 1000+100+1 {
		t.Errorf("%d attempts were let in within 10 s, want 100 a second and a burst of 100", in)
	}
}

func TestAnAddressThatConnectsTooOftenIsRefusedAlone(t *testing.T) {
	var a admission
	limits := &settings.Limits{ConnectsPerSecondPerAddress: 2}
	count := func(at time.Duration, address string) (in int) {
		for range 50 {
			result, after := a.admit(epoch.Add(at), netip.MustParseAddr(address), limits)
			switch {
			case result == connectOK:
				in++
			case result != connectRateLimited || after < 1:
				t.Fatalf("refused as %s with Retry-After %d", connectResultNames[result], after)
			}
		}
		return in
	}
	for _, test := range []struct {
		name    string
		at      time.Duration
		address string
		want    int
	}{
		{"ten at once", 0, "192.0.2.1", 10},
		{"no more then", 0, "192.0.2.1", 0},
		{"a neighbour has its own", 0, "192.0.2.2", 10},
		{"an IPv6 address", 0, "2001:db8::1", 10},
		{"the rest of its /64 shares with it", 0, "2001:db8::ffff", 0},
		{"another /64 does not", 0, "2001:db8:0:1::1", 10},
		{"two more after a second", time.Second, "192.0.2.1", 2},
	} {
		if got := count(test.at, test.address); got != test.want {
			t.Errorf("%s: %d attempts are let in, want %d", test.name, got, test.want)
		}
	}
	if result, _ := a.admit(epoch, netip.Addr{}, limits); result != connectOK {
		t.Error("who has no address is refused for its address")
	}
}

func TestTheMemoryForAddressesIsBounded(t *testing.T) {
	var a admission
	limits := &settings.Limits{ConnectsPerSecondPerAddress: 1}
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 2 * maxAddresses {
		a.admit(epoch, address(i), limits)
	}
	if len(a.addresses) > maxAddresses {
		t.Errorf("%d addresses are remembered, want %d at most", len(a.addresses), maxAddresses)
	}
	a.admit(epoch.Add(time.Minute), address(3*maxAddresses), limits)
	if len(a.addresses) != 1 {
		t.Errorf("%d addresses are remembered after all but one have been quiet for a minute, want 1", len(a.addresses))
	}
}

// attempts dials n times and returns how many connections came of it, and the refusals.
func (n *node) attempts(t *testing.T, count int, header http.Header) (in int, refusals []answer) {
	t.Helper()
	for i := range count {
		ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), n.url("user_id", fmt.Sprint("user-", i)), header)
		if err == nil {
			newClient(t, ws)
			in++
			continue
		}
		if response == nil {
			t.Fatal(err)
		}
		if response.Close {
			response.Header.Set("Connection", "close") // the client has taken it out
		}
		body := make([]byte, 1024)
		size, _ := response.Body.Read(body) // gorilla has read it; an error is the end of the body
		refusals = append(refusals, answer{response.StatusCode, response.Header, string(body[:size])})
		_ = response.Body.Close()
	}
	return in, refusals
}

func TestTooManyAttemptsAreRefused(t *testing.T) {
	t.Run("with 503 over the limit of the gateway", func(t *testing.T) {
		n := start(t, "memory://", func(s *settings.Settings) { s.Limits.ConnectsPerSecond = 1 })
		in, refusals := n.attempts(t, 30, nil)
		if in < leastBurst || len(refusals) == 0 {
			t.Fatalf("of 30 attempts at once %d were let in, want about %d", in, leastBurst)
		}
		for _, refusal := range refusals {
			wantRefusal(t, refusal, http.StatusServiceUnavailable, protocol.CodeOverloaded)
			if seconds, err := strconv.Atoi(refusal.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > maxRetryAfter {
				t.Errorf("Retry-After is %q, want 1 to %d", refusal.header.Get("Retry-After"), maxRetryAfter)
			}
		}
		if got := n.metric(t, `wscluster_connects_total{result="throttled"}`); got != float64(len(refusals)) {
			t.Errorf("%v attempts are counted as throttled, want %d", got, len(refusals))
		}
	})
	t.Run("before the token and the origin are looked at", func(t *testing.T) {
		n := start(t, "memory://", func(s *settings.Settings) { s.Limits.ConnectsPerSecond = 1 })
		_, refusals := n.attempts(t, 30, http.Header{"Origin": {"https://evil.example.com"}})
		if last := refusals[len(refusals)-1]; last.status != http.StatusServiceUnavailable {
			t.Errorf("the last of many attempts of a forbidden origin gets %d, want 503", last.status)
		}
	})
	t.Run("with 429 over the limit of an address, as a trusted proxy tells it", func(t *testing.T) {
		n := start(t, "memory://", func(s *settings.Settings) {
			s.Limits.ConnectsPerSecondPerAddress = 1
			s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		in, refusals := n.attempts(t, 30, http.Header{"X-Forwarded-For": {"198.51.100.7"}})
		if in < leastBurst || len(refusals) == 0 {
			t.Fatalf("of 30 attempts at once %d were let in, want about %d", in, leastBurst)
		}
		wantRefusal(t, refusals[0], http.StatusTooManyRequests, protocol.CodeRateLimited)
		if in, _ := n.attempts(t, 5, http.Header{"X-Forwarded-For": {"198.51.100.8"}}); in != 5 {
			t.Errorf("another address may connect %d times, want 5", in)
		}
		if got := n.metric(t, `wscluster_connects_total{result="rate_limited"}`); got != float64(len(refusals)) {
			t.Errorf("%v attempts are counted as rate_limited, want %d", got, len(refusals))
		}
	})
	t.Run("and their TCP connection is closed", func(t *testing.T) {
		n := start(t, "memory://", func(s *settings.Settings) { s.Limits.ConnectsPerSecond = 1 })
		_, refusals := n.attempts(t, 30, nil)
		if got := refusals[0].header.Get("Connection"); got != "close" {
			t.Errorf("the refusal has Connection %q, want close: else each would hold memory until it tries again", got)
		}
	})
}
