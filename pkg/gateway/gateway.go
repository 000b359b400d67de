// Package gateway is the process that clients connect to: HTTP listeners, the upgrade, what each command does, limits, the
// ops endpoints, and how the process leaves. It puts the other packages together: settings says how, auth says who may,
// hub knows who is here, backplane carries messages, socket carries bytes, protocol is the language.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/socket"
)

// Gateway is one gateway process. It is made by New and used by Run once.
type Gateway struct {
	// Fixed at start.
	settings      settings.Settings
	logger        *slog.Logger
	backplane     backplane.Backplane
	hub           *hub.Hub
	reactor       *socket.Reactor
	authenticator *auth.Authenticator
	stopKeys      context.CancelFunc // ends the authenticator's fetching of keys
	metrics       *metrics
	fleet         *fleet
	canary        *canary
	attendance    *attendance
	allowances    *allowances
	certificate   certificate
	sequence      messageIDs
	started       time.Time
	apiKeys       apiKeys
	public, ops   net.Listener
	api           net.Listener // nil: the server API is off
	bodyTimeout   time.Duration

	// live is the part of the settings that changes when files change.
	live atomic.Pointer[live]

	// phase and its clock.
	phase     atomic.Int32
	drainOnce sync.Once
	drainNow  chan struct{}

	// admitted counts connections and handshakes on their way, against Limits.MaxConnections.
	admitted atomic.Int64
	// admission bounds the attempts to connect.
	admission admission

	mu       sync.Mutex
	sessions map[*session]struct{}
}

// live is what a reload replaces; it is never changed.
type live struct {
	limits   settings.Limits
	wanted   int // MaxConnections as the settings say; limits has what the process has descriptors for
	origins  []string
	policies *auth.Policies
	direct   settings.Access // who may publish to a user
	// inbox says how a user's messages are kept, inboxOfSeen how those are that other clients send; nil: they are not.
	inbox, inboxOfSeen *backplane.Keep
}

// keepRoom says how a room's messages are kept; nil: they are not.
func (l *live) keepRoom(room string) *backplane.Keep {
	history := l.policies.Policy(room).History
	if history == nil {
		return nil
	}
	return &backplane.Keep{Size: history.Size, TTL: history.TTL, MinReplicas: history.MinReplicas}
}

// The phases of a process. They only go forward.
const (
	serving  int32 = iota // ready, if everything else is
	leaving               // not ready any more, still serving: endpoints take a while to forget us
	draining              // no new connections; those that are here are asked to go
)

var phaseNames = [...]string{serving: "serving", leaving: "leaving", draining: "draining"}

// New puts a gateway together and binds its listeners, so that a port that is taken is an error at once. The caller must
// Run it. It takes the backplane over.
func New(s settings.Settings, plane backplane.Backplane, logger *slog.Logger) (*Gateway, error) {
	g := &Gateway{
		settings: s, logger: logger, backplane: plane, sequence: newMessageIDs(), started: time.Now(),
		drainNow: make(chan struct{}), sessions: map[*session]struct{}{}, fleet: newFleet(plane), canary: newCanary(plane),
		bodyTimeout: bodyTimeout,
	}
	var err error
	keys, stopKeys := context.WithCancel(context.Background())
	g.stopKeys = stopKeys
	if g.authenticator, err = auth.New(keys, s.Auth, auth.Options{Logger: logger}); err != nil {
		return nil, err
	}
	g.attendance, g.allowances = newAttendance(g, plane), newAllowances(g, plane)
	g.apply(s)
	if err := g.certificate.load(s); err != nil {
		return nil, err
	}
	if g.public, err = g.certificate.listen(s.Listen); err != nil {
		return nil, err
	}
	if g.ops, err = net.Listen("tcp", s.OpsListen); err != nil {
		return nil, errors.Join(fmt.Errorf("ops-listen: %w", err), g.closeListeners())
	}
	if s.APIListen != "" && s.APIKeyFile != "" {
		if err := g.apiKeys.load(s.APIKeyFile); err != nil {
			return nil, errors.Join(fmt.Errorf("api-key-file: %w", err), g.closeListeners())
		}
		if g.api, err = net.Listen("tcp", s.APIListen); err != nil {
			return nil, errors.Join(fmt.Errorf("api-listen: %w", err), g.closeListeners())
		}
	}
	g.reactor, err = socket.NewReactor(socket.Config{
		Heartbeat: s.Heartbeat, Compression: s.Compression, Logger: logger,
		SendQueueBytes:  func() int { return g.live.Load().limits.SendQueueBytes },
		MaxMessageBytes: func() int { return g.live.Load().limits.MaxMessageBytes },
	})
	if err != nil {
		return nil, errors.Join(err, g.closeListeners())
	}
	g.hub = hub.New(hub.Options{Backplane: plane, Logger: logger, Control: g.control,
		SendQueueBytes: func() int { return g.live.Load().limits.SendQueueBytes }})
	g.metrics = newMetrics(g)
	return g, nil
}

func (g *Gateway) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{g.public, g.ops, g.api} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// apply takes over what a reload may change.
func (g *Gateway) apply(s settings.Settings) {
	l := &live{limits: s.Limits, wanted: s.Limits.MaxConnections, origins: s.AllowedOrigins, policies: auth.NewPolicies(s), direct: s.DirectMessages.Publish}
	if s.Inbox != nil {
		l.inbox = &backplane.Keep{Size: s.Inbox.Size, TTL: s.Inbox.TTL, MaxBytes: s.Inbox.MaxBytes}
		seen := *l.inbox
		seen.OnlySeen = true
		l.inboxOfSeen = &seen
	}
	if before := g.live.Load(); before != nil && before.wanted == s.Limits.MaxConnections {
		l.limits.MaxConnections = before.limits.MaxConnections
	} else {
		l.limits.MaxConnections = descriptorsFor(s.Limits.MaxConnections, g.logger)
	}
	g.live.Store(l)
	g.attendance.reload()
}

// Addr and OpsAddr return what the listeners are bound to.
func (g *Gateway) Addr() net.Addr { return g.public.Addr() }

// OpsAddr returns the address of the ops endpoints.
func (g *Gateway) OpsAddr() net.Addr { return g.ops.Addr() }

// apiAddress returns what the server API is bound to; empty: it is off.
func (g *Gateway) apiAddress() string {
	if g.api == nil {
		return ""
	}
	return g.api.Addr().String()
}

// Run serves until ctx ends, then drains (see Drain) and returns when every connection is gone. It returns early, cutting
// what is left, when hard ends.
func (g *Gateway) Run(ctx, hard context.Context) error {
	public, ops, api := g.server(g.publicHandler()), g.server(g.opsHandler()), g.server(g.apiHandler())
	api.ReadTimeout = g.bodyTimeout
	failed := make(chan error, 3)
	go func() { failed <- g.servePublic(public) }()
	go func() { failed <- ops.Serve(g.ops) }()
	if g.api != nil {
		go func() { failed <- api.Serve(g.api) }()
	}
	announcing, stopAnnouncing := context.WithCancel(hard)
	defer stopAnnouncing()
	var background sync.WaitGroup
	background.Go(func() { g.keepAnnouncing(announcing) })
	background.Go(func() { g.attendance.run(announcing) })
	g.logger.Info("gateway is up", "node", g.settings.Node, "listen", g.public.Addr().String(), "api", g.apiAddress(), "ops", g.ops.Addr().String(),
		"auth", string(g.settings.Auth.Type), "max_connections", g.live.Load().limits.MaxConnections)

	var err error
	select {
	case <-ctx.Done():
		g.drain(hard)
	case <-g.drainNow:
		g.drain(hard)
	case err = <-failed:
	}
	_ = public.Close()
	finish, cancelFinish := context.WithTimeout(hard, flushTimeout)
	_ = api.Shutdown(finish) // requests that are being answered are answered
	cancelFinish()
	g.reactor.Stop()
	stopAnnouncing()
	background.Wait()
	flush, cancel := context.WithTimeout(hard, flushTimeout)
	defer cancel()
	if cerr := g.hub.Close(flush); cerr != nil {
		g.logger.Warn("messages that were accepted may not have been published", "error", cerr)
	}
	g.stopKeys()
	_ = ops.Close()
	return err
}

// servePublic serves the public port until the server is closed.
func (g *Gateway) servePublic(server *http.Server) error {
	if g.certificate.current.Load() != nil {
		return server.Serve(g.public)
	}
	door, err := newDoor(g.public, g.serveWebSocket, g.logger)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return server.Serve(door)
}

func (g *Gateway) server(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: maxHeaderBytes, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(g.logger.Handler(), slog.LevelDebug)}
}

const (
	// headerTimeout and maxHeaderBytes keep clients that send slowly, or much, from holding a connection before the upgrade.
	headerTimeout  = 10 * time.Second
	maxHeaderBytes = 32 << 10
	idleTimeout    = 2 * time.Minute
	// bodyTimeout is what a backend has for sending a request, whose body may be maxBatchBytes.
	bodyTimeout = 30 * time.Second
	// flushTimeout is a little more than a publish may take.
	flushTimeout = 3 * time.Second
)
