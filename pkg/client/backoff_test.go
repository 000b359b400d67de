package client

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/protocol"
)

func TestPausesAreAPartOfABoundThatDoubles(t *testing.T) {
	b := newBackoff(time.Second, 5*time.Second)
	var bounds []time.Duration
	b.random = func(n time.Duration) time.Duration {
		bounds = append(bounds, n-1)
		return 0
	}
	for range 5 {
		b.after(nil)
	}
	b.failures = 1 << 20 // no shift by that much
	b.after(nil)
	b.succeeded()
	b.after(nil)
	s := time.Second
	if diff := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 5 * s, 5 * s, 5 * s, s}, bounds); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatAGatewayAsksForIsWaited(t *testing.T) {
	b := newBackoff(time.Second, 5*time.Second)
	for want, err := range map[time.Duration]error{
		7 * time.Second: &RefusedError{Status: 503, RetryAfter: 7 * time.Second},
		overloadedPause: &ClosedError{Code: protocol.CloseTryLater},
		0:               &ClosedError{Code: protocol.CloseRestart},
	} {
		if got := b.after(err); got < want || got > want+5*time.Second {
			t.Errorf("after %v the pause is %v, want %v and at most 5 s more", err, got, want)
		}
	}
}
