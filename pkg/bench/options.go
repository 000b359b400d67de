package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

// The bounds of a run. A generator is one event loop on one core: more load takes more processes.
const (
	MaxClients  = 200_000
	MaxRooms    = 1_000_000
	MaxPayload  = 1 << 20
	MaxRate     = 1_000_000
	MaxInFlight = 65_536
	MaxDuration = 24 * time.Hour
	// MaxChecked is how many messages a check remembers, 8 bytes each.
	MaxChecked = 50_000_000
	// MaxMemberships of all clients together.
	MaxMemberships = 20_000_000
)

// Options says who connects where. The zero value of a field is its default.
type Options struct {
	// URLs are ws:// or wss:// addresses with their path, one a gateway, or one Service. Clients are dealt out to them.
	URLs []string
	// Publishers and Subscribers are numbers of connections. Publishers are members of the rooms that they publish to.
	Publishers, Subscribers int
	// Rooms that messages go to, in turn; default 1.
	Rooms int
	// RoomsPerSubscriber is how many of the rooms each subscriber is in; default 1.
	RoomsPerSubscriber int
	// PublishersStayOut has publishers publish without joining, where the rooms' policy lets them.
	PublishersStayOut bool
	// RoomPrefix begins the rooms' names; default: bench- and a random part, so that two runs do not meet.
	RoomPrefix string
	// PayloadBytes is the size of each message's data, a JSON string with its quotes; default 128, at least MinPayloadBytes.
	PayloadBytes int

	// UserPrefix and the client's number are the user id, for gateways that believe it; default "bench-".
	UserPrefix string
	// Tokens are bearer tokens, dealt out to the clients; none: no token.
	Tokens []string
	// Header is sent with every handshake.
	Header http.Header
	// TLS is for wss:// addresses; nil: the system's roots.
	TLS *tls.Config
	// LocalAddresses to connect from, in turn; none: the system chooses. One address has about 28,000 ports to one gateway.
	LocalAddresses []net.IP

	// ConnectRate bounds new connections, in a second; default 1000.
	ConnectRate float64
	// DialTimeout bounds one handshake; default 10 s.
	DialTimeout time.Duration
	// Backoff is the first bound of the random wait before a connection is tried again; it doubles up to MaxBackoff.
	// Defaults 250 ms and 10 s.
	Backoff, MaxBackoff time.Duration
	// StayClosed keeps clients whose connection ended from coming back.
	StayClosed bool

	// Check remembers every message and tells what was lost, doubled or reordered.
	Check bool
	// History says that the rooms keep a log: clients recover what they missed, and nothing acked may be lost.
	History bool
	// FaultMargin is how long before a fault is seen (a connection that ended, a publish that was not confirmed, or only
	// after a second) messages may have been in flight; default 3 s, longer than a gateway takes to notice a silent link to Redis.
	FaultMargin time.Duration

	// Dialect is what the server speaks; default: ours.
	Dialect Dialect
	// Logger hears of connections that end; default: nobody.
	Logger *slog.Logger
}

// withDefaults returns the options made complete, or a sentence that says what is wrong.
func (o Options) withDefaults() (Options, error) {
	defaultTo(&o.Rooms, 1)
	defaultTo(&o.RoomsPerSubscriber, 1)
	defaultTo(&o.PayloadBytes, 128)
	defaultTo(&o.ConnectRate, 1000)
	defaultTo(&o.DialTimeout, 10*time.Second)
	defaultTo(&o.Backoff, 250*time.Millisecond)
	defaultTo(&o.MaxBackoff, 10*time.Second)
	defaultTo(&o.FaultMargin, 3*time.Second)
	defaultTo(&o.UserPrefix, "bench-")
	defaultTo(&o.RoomPrefix, "bench-"+randomName()+"-")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dialect == nil {
		o.Dialect = &wscluster{options: &o}
	}
	err := o.validate()
	return o, err
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) validate() error {
	if len(o.URLs) == 0 {
		return errors.New("no address to connect to: give at least one, like ws://127.0.0.1:8080/ws")
	}
	for _, text := range o.URLs {
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
			return fmt.Errorf("%q is no WebSocket address: write it like ws://127.0.0.1:8080/ws or wss://chat.example.com/ws", text)
		}
	}
	for _, field := range []struct {
		name     string
		value    int
		min, max int
	}{
		{"publishers", o.Publishers, 0, MaxClients},
		{"subscribers", o.Subscribers, 0, MaxClients},
		{"publishers and subscribers together", o.Publishers + o.Subscribers, 1, MaxClients},
		{"rooms", o.Rooms, 1, MaxRooms},
		{"rooms per subscriber", o.RoomsPerSubscriber, 1, o.Rooms},
		{"memberships of all subscribers together", o.Subscribers * o.RoomsPerSubscriber, 0, MaxMemberships},
		{"bytes of payload", o.PayloadBytes, MinPayloadBytes, MaxPayload},
	} {
		if field.value < field.min || field.value > field.max {
			return fmt.Errorf("%s: %d is out of range, use %d to %d", field.name, field.value, field.min, field.max)
		}
	}
	if o.ConnectRate < 0 || o.Backoff < 0 || o.MaxBackoff < o.Backoff || o.DialTimeout < 0 {
		return errors.New("rates and times must not be negative, nor the longest back-off shorter than the first")
	}
	return o.validateFiles()
}

// validateFiles compares the connections with what the process may open.
func (o *Options) validateFiles() error {
	const spare = 100 // Go's own, epoll, and old connections that overlap with new ones
	limit := openFileLimit()
	if clients := o.Publishers + o.Subscribers; limit > 0 && clients+spare > limit {
		return fmt.Errorf("%d clients need more open files than this process may have (%d): raise the limit with ulimit -n %d, or run several generators with fewer clients each", clients, limit, clients+spare)
	}
	return nil
}

// Load says what is published in one phase. Exactly one of Rate and Outstanding is set.
type Load struct {
	// Duration after which publishing stops.
	Duration time.Duration
	// Messages after which publishing stops; 0: no bound.
	Messages int
	// Rate is in messages a second, over all publishers, evenly spaced.
	Rate float64
	// Outstanding is how many messages are under way at most: a message is until its last member has it.
	Outstanding int
	// Grace is how long to wait for the last deliveries; default 5 s.
	Grace time.Duration
}

func (l Load) validate(o *Options) (Load, error) {
	defaultTo(&l.Grace, 5*time.Second)
	switch {
	case o.Publishers == 0:
		return l, errors.New("nobody publishes: use at least one publisher")
	case (l.Rate > 0) == (l.Outstanding > 0):
		return l, errors.New("say how much to publish: either a rate (messages a second) or a number of messages outstanding, not both")
	case l.Rate < 0 || l.Rate > MaxRate || math.IsNaN(l.Rate):
		return l, fmt.Errorf("rate: %g messages a second is out of range, use up to %d", l.Rate, MaxRate)
	case l.Outstanding < 0 || l.Outstanding > MaxInFlight:
		return l, fmt.Errorf("outstanding: %d is out of range, use 1 to %d", l.Outstanding, MaxInFlight)
	case l.Duration <= 0 || l.Duration > MaxDuration:
		return l, fmt.Errorf("duration: %v is out of range, use up to %v", l.Duration, MaxDuration)
	case l.Messages < 0:
		return l, errors.New("messages must not be negative")
	case o.Check && l.Rate*l.Duration.Seconds() > MaxChecked:
		return l, fmt.Errorf("a check remembers at most %d messages: shorten the run or lower the rate", MaxChecked)
	}
	if o.Check && (l.Messages == 0 || l.Messages > MaxChecked) {
		l.Messages = MaxChecked
	}
	return l, nil
}
