package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// errLinkSpent is what a link's second dial gets: nothing was written to Redis.
var errLinkSpent = errors.New("the connection to Redis broke")

// errNobodyServes is what a dial to no address gets.
var errNobodyServes = errors.New("no node of the Redis Cluster is known to serve the slot")

// handshakeBuffer sizes go-redis's buffers, which see only the handshake, pings, INFO and the loading of scripts.
const handshakeBuffer = 4 << 10

// dialer makes links to one primary. It is immutable after New.
type dialer struct {
	endpoint endpoint
	options  Options
	// sentinels is nil where the URL names Redis itself.
	sentinels *sentinels
	links     *linkSet
}

func newDialer(e endpoint, o Options) *dialer {
	d := &dialer{endpoint: e, options: o, links: newLinkSet()}
	if e.master != "" {
		d.sentinels = &sentinels{addrs: e.hosts, master: e.master, dial: d.dial, timing: o.Timing, links: d.links}
	}
	return d
}

// to returns a dialer that differs in where it leads; an empty address leads nowhere.
func (d *dialer) to(addr string) *dialer {
	e := d.endpoint
	e.addr = addr
	return &dialer{endpoint: e, options: d.options, links: newLinkSet()}
}

// link is one connection to Redis, from dial to close. Everything in go-redis that would dial again, resend or change the
// connection by itself is off:
//   - the dialer hands out one connection; the pool's replacing of a bad connection gets an error;
//   - no retries of commands (MaxRetries) or dials (DialerRetries); PoolSize 2 for a single user keeps the pool's own
//     redial loop from starting after a failed dial;
//   - RESP2, which has no push messages to be interleaved with replies; no maintenance notifications, no CLIENT SETINFO;
//   - no pool of its own for pipelines, no idle timeout;
//   - deadlines are those of the context.
//
// What is frequent does not go through go-redis: connect hands out the connection, which go-redis does not touch while none of
// its commands is running, and on which nothing comes but answers. resp.go and push.go read it.
type link struct {
	client *goredis.Client
	dialer *dialer
	made   time.Time
	spent  atomic.Bool

	// replicationID is the primary's once the link is ready for scripts, and verified when it was last read. Its publisher's.
	replicationID string
	verified      time.Time
	// heard is when something came last that says that the primary was not silent. Its publisher's.
	heard time.Time

	mu   sync.Mutex
	conn net.Conn
	gone bool
}

// quiet sends go-redis's own log, which goes to standard error in a format of its own, nowhere: it only repeats what is also
// returned as an error.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

var quietOnce sync.Once

// open returns a link that dials on its first use.
func (d *dialer) open() *link {
	quietOnce.Do(func() { goredis.SetLogger(quiet{}) })
	l := &link{dialer: d, made: time.Now()}
	timing := d.options.Timing
	l.client = goredis.NewClient(&goredis.Options{
		Addr: d.endpoint.String(),
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if l.spent.Swap(true) {
				return nil, errLinkSpent
			}
			ctx, cancel := context.WithTimeout(ctx, timing.Dial)
			defer cancel()
			addr, err := d.locate(ctx, l)
			if err != nil {
				return nil, err
			}
			conn, err := d.dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			return conn, l.own(conn)
		},
		CredentialsProviderContext: func(context.Context) (string, string, error) { return d.credentials() },
		DB:                         d.endpoint.db,
		Protocol:                   2,
		MaxRetries:                 -1,
		DialerRetries:              1,
		DialTimeout:                timing.Dial,
		ReadTimeout:                timing.Dial,
		WriteTimeout:               timing.Dial,
		ContextTimeoutEnabled:      true,
		PoolSize:                   2,
		PipelinePoolSize:           -1,
		ConnMaxIdleTime:            -1,
		ReadBufferSize:             handshakeBuffer,
		WriteBufferSize:            handshakeBuffer,
		DisableIdentity:            true,
		MaintNotificationsConfig:   &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return l
}

// connect dials, shakes hands and waits for Redis to answer a ping. The connection that it returns has no deadline; it may be
// used whenever no command of the client is running, and must then be left with all answers read.
func (l *link) connect(ctx context.Context) (net.Conn, error) {
	if err := l.client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("connect to Redis: %w", err)
	}
	if err := l.checkRole(ctx); err != nil {
		return nil, err
	}
	if !l.dialer.endpoint.sharded {
		// Where it leads was asked for just now. In a cluster it was known from before.
		l.heard = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("connect to Redis: %w", err)
	}
	return l.conn, nil
}

// checkRole refuses a server that Sentinel has made, or not yet unmade, a replica: it takes what is published to it without an
// error and passes it on to nobody else.
func (l *link) checkRole(ctx context.Context) error {
	if l.dialer.sentinels == nil {
		return nil
	}
	reply, err := l.client.Do(ctx, "ROLE").Slice()
	if err != nil {
		return fmt.Errorf("ask Redis for its role, with ROLE: %w", err)
	}
	if len(reply) == 0 || reply[0] != "master" {
		return fmt.Errorf("the sentinels name a Redis as the primary that is not: ROLE says %v", reply)
	}
	return nil
}

// own remembers the connection so that close can end it whatever go-redis is doing with it.
func (l *link) own(conn net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		_ = conn.Close()
		return errLinkSpent
	}
	l.conn = conn
	return nil
}

// cut ends the connection: whoever reads from or writes to it gets an error at once. It does not block.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// isGone says whether the link was cut.
func (l *link) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// close cuts the link and lets go of everything of it.
func (l *link) close() {
	l.cut()
	_ = l.client.Close() // says only that the connection is closed already
	l.dialer.links.closed(l)
}

// locate returns the address to dial. Sentinels are asked anew for each dial.
func (d *dialer) locate(ctx context.Context, l *link) (string, error) {
	if d.sentinels == nil {
		if d.endpoint.addr == "" {
			return "", errNobodyServes
		}
		d.links.opened(l, d.endpoint.addr)
		return d.endpoint.addr, nil
	}
	d.links.opened(l, "")
	addr, err := d.sentinels.primary(ctx)
	if err == nil {
		d.links.opened(l, addr)
	}
	return addr, err
}

// dial connects to a Redis or a sentinel.
func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	netDialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	if !d.endpoint.tls {
		conn, err := netDialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return direct(conn), nil
	}
	config, err := d.tlsConfig(addr)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: netDialer, Config: config}).DialContext(ctx, "tcp", addr)
}

// tlsConfig reads the files anew, so that renewed certificates are taken over by the next connection.
func (d *dialer) tlsConfig(addr string) (*tls.Config, error) {
	config := &tls.Config{ServerName: d.options.ServerName, MinVersion: tls.VersionTLS12}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr) // addresses are made by JoinHostPort
	}
	if name := d.options.CAFile; name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the CA file for Redis: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA file for Redis, %s, holds no PEM certificate", name)
		}
	}
	if d.options.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(d.options.CertFile, d.options.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate for Redis: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// credentials reads the password file anew, so that a rotated password is taken over by the next connection.
func (d *dialer) credentials() (user, password string, err error) {
	if d.options.PasswordFile == "" {
		return d.endpoint.user, d.endpoint.password, nil
	}
	text, err := os.ReadFile(d.options.PasswordFile)
	if err != nil {
		return "", "", fmt.Errorf("read the password file for Redis: %w", err)
	}
	return d.endpoint.user, strings.TrimSpace(string(text)), nil
}

// deadlineContext is a context that only has a deadline. Unlike context.WithDeadline it starts no timer, since go-redis
// only sets the connection's deadline by it.
type deadlineContext struct {
	context.Context
	deadline time.Time
}

// withDeadline returns ctx with a deadline that only go-redis looks at.
func withDeadline(ctx context.Context, deadline time.Time) context.Context {
	return &deadlineContext{Context: ctx, deadline: deadline}
}

// Deadline returns the deadline.
func (c *deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

// longestBackoff is the most that backoff says after an outage of that length.
func (t Timing) longestBackoff(outage time.Duration) time.Duration {
	return min(max(outage/20, t.BackoffMin), t.BackoffMax)
}

// backoff says how long to wait before the next attempt to connect when the link has been down since.
func (t Timing) backoff(since, now time.Time) time.Duration {
	d := t.longestBackoff(now.Sub(since))
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}
