package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/gateway/demo"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// subscribeWait is how long a new connection's welcome waits for the subscription to its user's channel; after that the
// client is welcome all the same, and messages to the user come once Redis is back.
const subscribeWait = 2 * time.Second

func (g *Gateway) publicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", g.serveWebSocket)
	if g.settings.Demo {
		mux.Handle("/", demo.Handler())
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, protocol.CodeBadRequest, "there is nothing here: connect to /ws", 0)
		})
	}
	return mux
}

// serveWebSocket admits a client or says why not.
func (g *Gateway) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	result := g.connect(w, r) //nolint:contextcheck // the connection outlives the request
	g.metrics.connects[result].Add(1)
	if result != connectOK && g.logger.Enabled(r.Context(), slog.LevelDebug) {
		g.logger.Debug("refused", "result", connectResultNames[result], "address", auth.ClientAddr(r, g.settings.TrustedProxies).String())
	}
}

// connectResult is how a connection attempt ended; its text is a metric label.
type connectResult int

const (
	connectOK connectResult = iota
	connectBadRequest
	connectUnauthorized
	connectUnavailable // tokens cannot be checked now
	connectOriginDenied
	connectDraining
	connectOverloaded  // full
	connectThrottled   // more attempts in a second than are looked at
	connectRateLimited // more attempts of one address
	connectResultCount
)

var connectResultNames = [connectResultCount]string{"ok", "bad_request", "unauthorized", "unavailable", "origin_denied", "draining", "overloaded", "throttled", "rate_limited"}

func (g *Gateway) connect(w http.ResponseWriter, r *http.Request) connectResult {
	live := g.live.Load()
	if g.phase.Load() == draining {
		hangUp(w)
		refuse(w, http.StatusServiceUnavailable, protocol.CodeDraining, "this gateway is leaving: connect again to reach another", 1)
		return connectDraining
	}
	address := auth.ClientAddr(r, g.settings.TrustedProxies)
	if result, retryAfter := g.admission.admit(time.Now(), address, &live.limits); result != connectOK {
		refuseAttempt(w, result, retryAfter)
		return result
	}
	subprotocol, err := chooseSubprotocol(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, protocol.CodeBadRequest, err.Error(), 0)
		return connectBadRequest
	}
	if !auth.AllowOrigin(r, live.origins) {
		refuse(w, http.StatusForbidden, protocol.CodeOriginDenied, "pages of this origin may not connect: add it to the allowed origins", 0)
		return connectOriginDenied
	}
	identity, err := g.authenticator.Authenticate(r)
	if err != nil {
		return refuseIdentity(w, err)
	}
	if g.admitted.Add(1) > int64(live.limits.MaxConnections) {
		g.admitted.Add(-1)
		hangUp(w)
		refuse(w, http.StatusServiceUnavailable, protocol.CodeOverloaded, "this gateway is full: connect again later", 5+rand.IntN(6))
		return connectOverloaded
	}
	conn, err := g.reactor.Upgrade(w, r, subprotocol, func(w http.ResponseWriter, status int, reason string) {
		refuse(w, status, protocol.CodeBadRequest, "this is no WebSocket handshake: "+reason, 0)
	})
	if err != nil {
		g.admitted.Add(-1)
		return connectBadRequest
	}
	s := &session{gateway: g, conn: conn, opened: time.Now().UnixNano()}
	s.identity.Store(&identity)
	s.client = hub.Client{ID: newConnectionID(), UserID: identity.UserID, Sender: conn}
	if g.logger.Enabled(context.Background(), slog.LevelDebug) {
		g.logger.Debug("connected", "connection_id", s.client.ID, "user_id", s.client.UserID, "address", address.String())
	}

	wait, cancel := context.WithTimeout(context.Background(), subscribeWait)
	if status := g.backplane.Status(); !status.Up {
		cancel() // no use waiting for a link that is known to be down
	}
	g.hub.Connect(wait, &s.client, live.inbox != nil, s.welcome)
	cancel()
	g.register(s)
	g.attendance.enter(s)
	if err := conn.Start(s); err != nil {
		s.Closed(socket.Draining)
		return connectDraining
	}
	if g.phase.Load() == draining && s.moving.CompareAndSwap(false, true) { // it began after we looked, and has not seen this session
		s.send(func(dst []byte) []byte { return protocol.AppendReconnect(dst, protocol.ReconnectDraining, 0) })
		conn.Close(uint16(protocol.CloseRestart), "connect again", socket.Draining)
	}
	return connectOK
}

// chooseSubprotocol returns what to answer to the offered subprotocols: ours if it is among them, nothing if none is offered
// (bearer tokens, which travel the same way, do not count), an error if only others are.
func chooseSubprotocol(r *http.Request) (string, error) {
	offered := slices.DeleteFunc(websocket.Subprotocols(r), func(name string) bool { return strings.HasPrefix(name, protocol.BearerPrefix) })
	switch {
	case slices.Contains(offered, protocol.Subprotocol):
		return protocol.Subprotocol, nil
	case len(offered) == 0:
		return "", nil
	}
	return "", errors.New("none of the offered subprotocols is spoken here: offer " + protocol.Subprotocol)
}

// refuseAttempt answers what admission did not let in.
func refuseAttempt(w http.ResponseWriter, result connectResult, retryAfter int) {
	hangUp(w)
	if result == connectRateLimited {
		refuse(w, http.StatusTooManyRequests, protocol.CodeRateLimited, "too many connection attempts from this address: wait as long as Retry-After says", retryAfter)
		return
	}
	refuse(w, http.StatusServiceUnavailable, protocol.CodeOverloaded, "too many clients connect at once: wait as long as Retry-After says", retryAfter)
}

// hangUp has the TCP connection closed behind the answer: thousands of refused clients must not each hold a descriptor, a
// goroutine and buffers until they try again.
func hangUp(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

// refuseIdentity passes on why the authenticator said no.
func refuseIdentity(w http.ResponseWriter, err error) connectResult {
	var refusal *auth.Error
	if !errors.As(err, &refusal) {
		refusal = &auth.Error{Status: http.StatusUnauthorized, Code: auth.CodeUnauthorized, Message: "the client could not be identified"}
	}
	result, retryAfter := connectUnauthorized, 0
	switch refusal.Status {
	case http.StatusBadRequest:
		result = connectBadRequest
	case http.StatusServiceUnavailable:
		result, retryAfter = connectUnavailable, 1
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 wants one with every 401
	}
	refuse(w, refusal.Status, protocol.Code(refusal.Code), refusal.Message, retryAfter)
	return result
}
