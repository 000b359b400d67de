package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve answers at an address of loopback that is a pod's own, at the port that all pods have.
func serve(t *testing.T, address string, port int, handler http.HandlerFunc) (taken int) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(port)))
	if err != nil {
		t.Fatalf("listen at %s, an address of loopback on Linux: %v", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestReadingTheLoadOfPods(t *testing.T) {
	const token = "s3cret"
	status := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token || r.URL.Path != "/statusz" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"node":"a","phase":"serving","connections":17,"rooms":3,"more":{},"canary":{"state":"failing","shards":[{"shard":"redis","state":"failing","failures":4,"refusal":"OOM"}]}}`)
	}
	port := serve(t, "127.0.0.2", 0, status)
	serve(t, "127.0.0.3", port, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) })
	serve(t, "127.0.0.4", port, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	serve(t, "127.0.0.5", port, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.2/statusz", http.StatusFound)
	})

	pods := []Pod{{"a", "127.0.0.2"}, {"b", "127.0.0.3"}, {"c", "127.0.0.4"}, {"d", "127.0.0.5"}, {"e", "127.0.0.6"}, {"f", "no address"}}
	loads := NewReader(port).Read(t.Context(), pods, token)
	want := Load{Pod: "a", Phase: "serving", Connections: 17, Rooms: 3, Canary: &Canary{State: CanaryFailing, Shards: []ShardCanary{{"redis", CanaryFailing, "OOM"}}}}
	if diff := cmp.Diff(want, loads[0]); diff != "" {
		t.Errorf("the load of a pod that answers (-want +got):\n%s", diff)
	}
	for i, wanted := range []string{"", "401", "something else than a status", "302", "cannot dial: connect: connection refused", "ask at \"no address\""} {
		if got := fmt.Sprint(loads[i].Err); loads[i].Pod != pods[i].Name || wanted != "" && !strings.Contains(got, wanted) {
			t.Errorf("of pod %s: %q, want it to say %q", pods[i].Name, got, wanted)
		}
	}
}

func TestPodsThatDoNotAnswerHoldNobodyUp(t *testing.T) {
	var open, most atomic.Int64
	release := make(chan struct{})
	port := serve(t, "127.0.0.2", 0, func(_ http.ResponseWriter, r *http.Request) {
		now := open.Add(1)
		for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		open.Add(-1)
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for open.Load() < maxAtOnce {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	pods := make([]Pod, 3*maxAtOnce)
	for i := range pods {
		pods[i] = Pod{fmt.Sprint(i), "127.0.0.2"}
	}
	for _, l := range NewReader(port).Read(ctx, pods, "") {
		if l.Err != errNoAnswer { //nolint:errorlint // the message must not change from time to time
			t.Fatalf("pod %s: %v, want %v", l.Pod, l.Err, errNoAnswer)
		}
	}
	if got := most.Load(); got > maxAtOnce {
		t.Errorf("%d pods were asked at the same time, want %d at most", got, maxAtOnce)
	}
}
