package gateway

import (
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
	"github.com/wscluster/wscluster/pkg/version"
)

// opsHandler serves what operators and probes ask.
func (g *Gateway) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := g.notReady(); why != "" {
			plain(w, http.StatusServiceUnavailable, why)
			return
		}
		plain(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /statusz", g.guard(g.serveStatus))
	mux.HandleFunc("POST /drain", g.guard(func(w http.ResponseWriter, _ *http.Request) {
		g.Drain()
		plain(w, http.StatusAccepted, "draining")
	}))
	mux.HandleFunc("POST /shed", g.guard(g.serveShed))
	mux.HandleFunc("/debug/pprof/", g.guard(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", g.guard(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", g.guard(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", g.guard(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", g.guard(pprof.Trace))
	return mux
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // a probe that is gone needs no answer
}

// notReady says why this process should get no new clients; empty: it is ready. An outage of Redis is no reason once the
// link has been up, unless it is this process's alone: every gateway would close its door at the same time.
func (g *Gateway) notReady() string {
	switch {
	case g.phase.Load() != serving:
		return "draining"
	case !g.backplane.Status().EverUp:
		return "the backplane has not been reached yet"
	case g.canary.out() != "":
		return "messages do not come back through Redis (shard " + g.canary.out() + "), and those of other gateways do"
	case g.admitted.Load() >= int64(g.live.Load().limits.MaxConnections):
		return "full"
	}
	return ""
}

// guard lets in who has the ops token, or who asks from this machine where none is set. The token's file is read each time,
// so that it can be changed.
func (g *Gateway) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		file := g.settings.OpsTokenFile
		if file == "" {
			if !fromLoopback(r) {
				refuse(w, http.StatusForbidden, protocol.CodeForbidden, "only from this machine: set --ops-token-file to allow others with its token", 0)
				return
			}
			next(w, r)
			return
		}
		token, err := settings.ReadSecret(file)
		if err != nil {
			g.logger.Error("the ops token cannot be read", "error", err)
			refuse(w, http.StatusInternalServerError, protocol.CodeInternal, "the ops token cannot be read; the log says why", 0)
			return
		}
		if given, _ := auth.Bearer(r); given == "" || subtle.ConstantTimeCompare([]byte(given), token) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, protocol.CodeUnauthorized, "send the ops token as Authorization: Bearer TOKEN", 0)
			return
		}
		next(w, r)
	}
}

func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Status is what /statusz answers.
type Status struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	// Phase is serving, leaving or draining.
	Phase string `json:"phase"`
	Ready bool   `json:"ready"`
	// NotReady says why, where Ready is false.
	NotReady      string `json:"notReady,omitempty"`
	UptimeSeconds int64  `json:"uptimeSeconds"`

	Connections    int64  `json:"connections"`
	MaxConnections int    `json:"maxConnections"`
	Rooms          int64  `json:"rooms"`
	Users          int64  `json:"users"`
	Delivered      uint64 `json:"delivered"`
	SendQueueBytes int64  `json:"sendQueueBytes"`
	SlowConsumers  uint64 `json:"slowConsumers"`
	Goroutines     int    `json:"goroutines"`

	Backplane BackplaneStatus `json:"backplane"`
	// Canary says whether messages come back through Redis; absent with the backplane memory://.
	Canary *CanaryStatus `json:"canary,omitempty"`
}

// BackplaneStatus is the link's part of Status.
type BackplaneStatus struct {
	Up            bool   `json:"up"`
	Reconnects    uint64 `json:"reconnects"`
	Subscriptions int    `json:"subscriptions"`
	LastError     string `json:"lastError,omitempty"`
}

func (g *Gateway) serveStatus(w http.ResponseWriter, _ *http.Request) {
	stats, link, why := g.hub.Stats(), g.backplane.Status(), g.notReady()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Status{ // whoever asked is gone if this fails
		Node: g.settings.Node, Version: version.Version, Phase: phaseNames[g.phase.Load()], Ready: why == "", NotReady: why,
		UptimeSeconds: int64(time.Since(g.started).Seconds()),
		Connections:   stats.Connections, MaxConnections: g.live.Load().limits.MaxConnections, Rooms: stats.Rooms, Users: stats.Users,
		Delivered: stats.Deliveries, SendQueueBytes: g.reactor.QueuedBytes(), SlowConsumers: g.metrics.disconnects[socket.SlowConsumer].Load(),
		Goroutines: runtime.NumGoroutine(),
		Backplane:  BackplaneStatus{Up: link.Up, Reconnects: link.Reconnects, Subscriptions: link.Subscriptions, LastError: link.LastError},
		Canary:     g.canary.status(time.Now()),
	})
}

// serveShed asks some clients to connect elsewhere: POST /shed?count=N. The answer says how many were asked.
func (g *Gateway) serveShed(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.URL.Query().Get("count"))
	if err != nil || count < 1 {
		refuse(w, http.StatusBadRequest, protocol.CodeBadRequest, "count must be a whole number from 1: POST /shed?count=100", 0)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"shed": g.shed(count)}) //nolint:contextcheck // shedding outlives the request; whoever asked is gone if this fails
}
