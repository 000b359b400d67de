package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"
)

// Options says which Redis and how. URL and Cluster are required; everything else has a default.
type Options struct {
	// URL is redis://[user[:password]@]host[:port][/db], or rediss:// for TLS. The port is 6379 when absent. Or it is
	// redis+sentinel://[user[:password]@]host[:port],…[/db]?master=NAME: the hosts are sentinels, with port 26379 when absent,
	// that name the primary. User and password are Redis's; sentinels are asked without. rediss+sentinel:// is TLS to both.
	// Or it is redis+cluster://[user[:password]@]host[:port],…: some nodes of a Redis Cluster, with port 6379 when absent, that are
	// asked for the others; user and password are those of all nodes. rediss+cluster:// is TLS to all.
	URL string
	// PasswordFile holds the password; it wins over the URL's and is read at each dial, so that a rotated password is taken
	// over by the next connection. White space around it is dropped.
	PasswordFile string
	// CAFile holds the PEM certificates that the server's is checked against; empty: the system's. CertFile and KeyFile are
	// this client's own, both or neither. They need rediss:// and are read at each dial.
	CAFile, CertFile, KeyFile string
	// ServerName is the name that the server's certificate must have; empty: the URL's host, and with sentinels the host that is
	// dialed, as the sentinels name it.
	ServerName string
	// Cluster prefixes every key and channel: 1 to 253 of A–Z a–z 0–9 . _ -.
	Cluster string
	// Logger gets a line when the links break and when they are back; nil: slog.Default.
	Logger *slog.Logger

	// Subscribers is the number of connections that carry subscriptions, in a cluster for each shard; 0: 2, in a cluster 1.
	Subscribers int
	// Publishers is the number of connections that carry publications, in a cluster for each shard; 0: 1.
	Publishers int
	// QueueBytes bounds what waits to be published, with 512 bytes a message added for its bookkeeping; 0: 16 MiB.
	// Over it publications end as unavailable at once.
	QueueBytes int
	// Timing is for tests; its zero value is right for everything else.
	Timing Timing
}

// PublishTimeout is how long a publication may take before it ends as unavailable: the bounded wait of docs/protocol.md.
const PublishTimeout = 2 * time.Second

// Timing holds the times that the links keep; zero fields get their defaults.
type Timing struct {
	// Publish bounds the time from Publish to the confirmation; default PublishTimeout.
	Publish time.Duration
	// Dial bounds making a connection with its handshakes, each step of it; default 2 s.
	Dial time.Duration
	// Ping is the time between two pings of an idle link; default 1 s.
	Ping time.Duration
	// Silence is how long a link may bring nothing before it counts as broken, in whole pings; default 3 s.
	Silence time.Duration
	// BackoffMin and BackoffMax bound the pause between two attempts to connect: a twentieth of the time that the link has been
	// down, less up to half of it at random. Defaults 20 ms and 1 s. So a short outage is noticed to be over soon,
	// and a long one costs few attempts.
	BackoffMin, BackoffMax time.Duration
	// Topology is the time between two looks at a cluster's topology when nothing says that it has changed; default 5 s.
	Topology time.Duration
	// Lease is how long this process's members of a room outlive its last word of them, and the process its last announcement;
	// default 20 s, so that they are gone within 30 s, see refreshEvery.
	Lease time.Duration
}

func (t Timing) withDefaults() Timing {
	or := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	or(&t.Publish, PublishTimeout)
	or(&t.Dial, 2*time.Second)
	or(&t.Ping, time.Second)
	or(&t.Silence, 3*time.Second)
	or(&t.BackoffMin, 20*time.Millisecond)
	or(&t.BackoffMax, time.Second)
	or(&t.Topology, 5*time.Second)
	or(&t.Lease, 20*time.Second)
	return t
}

// endpoint is the part of a URL that a dial needs.
type endpoint struct {
	// addr is empty where it is the hosts that name it: sentinels, which have the name master for it, or nodes of a cluster.
	addr    string
	hosts   []string
	master  string
	sharded bool

	tls            bool
	user, password string
	db             int
}

// String names the endpoint without its password.
func (e endpoint) String() string {
	hosts := strings.Join(e.hosts, ", ")
	switch {
	case e.addr != "":
		return e.addr
	case e.sharded:
		return "the cluster of " + hosts
	default:
		return e.master + " of the sentinels " + hosts
	}
}

var clusterPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)

// check completes o and says in one sentence what is wrong with it.
func (o *Options) check() (endpoint, error) {
	e, err := parseURL(o.URL)
	if err != nil {
		return e, err
	}
	if !clusterPattern.MatchString(o.Cluster) {
		return e, fmt.Errorf("the cluster name %q must be 1 to 253 of A–Z a–z 0–9 . _ -", o.Cluster)
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return e, errors.New("a Redis client certificate needs both its certificate file and its key file")
	}
	if !e.tls && (o.CAFile != "" || o.CertFile != "" || o.ServerName != "") {
		return e, errors.New("TLS files for Redis need a rediss:// URL, not redis://")
	}
	for _, name := range []string{o.PasswordFile, o.CAFile, o.CertFile, o.KeyFile} {
		if name == "" {
			continue
		}
		if _, err := os.ReadFile(name); err != nil {
			return e, fmt.Errorf("read the file for Redis: %w", err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Subscribers <= 0 {
		o.Subscribers = 2
		if e.sharded {
			o.Subscribers = 1
		}
	}
	if o.Publishers <= 0 {
		o.Publishers = 1
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 16 << 20
	}
	o.Timing = o.Timing.withDefaults()
	return e, nil
}
