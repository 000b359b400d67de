package faults

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// fleet is the Redis and the gateways of a run, with a proxy in every link. Its methods are for the test's goroutine.
type fleet struct {
	t     testing.TB
	redis *redistest.Server
	// redisClock is nil unless the plan has it jump.
	redisClock *redistest.Clock
	control    *redis.Client // past the proxies
	// replica and its link to the primary are nil unless the plan has a failover.
	replica     *redistest.Server
	replication *faultproxy.Proxy
	// store is there instead of redis and all of the above where there is more than one Redis; struck is the server that a fault is done to.
	store    store
	struck   *redistest.Server
	gateways []*gateway
	// redisLinks, by gateway; clientLinks, by gateway and side.
	redisLinks  []*faultproxy.Proxy
	clientLinks [][sides]*faultproxy.Proxy
}

func startFleet(t testing.TB, p plan, program, folder string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	if p.topology == oneRedis {
		f.startRedis(p)
	} else {
		f.store = startStore(t, p)
	}
	for i := range p.gateways {
		f.gateways = append(f.gateways, startGateway(t, program, folder, i, f.backplane(), p.scope.settings()))
		var links [sides]*faultproxy.Proxy
		for side := range links {
			links[side] = faultproxy.Start(t, f.gateways[i].addr)
		}
		f.clientLinks = append(f.clientLinks, links)
	}
	return f
}

// backplane returns how the next gateway finds Redis.
func (f *fleet) backplane() string {
	if f.store != nil {
		return f.store.url()
	}
	link := faultproxy.Start(f.t, f.redis.Addr)
	f.redisLinks = append(f.redisLinks, link)
	return "redis://" + link.Addr
}

// logs returns the last that Redis has said.
func (f *fleet) logs() string {
	if f.store != nil {
		return f.store.logs()
	}
	return f.redis.Log()
}

// startRedis starts the one Redis of a run, and its replica.
func (f *fleet) startRedis(p plan) {
	t := f.t
	t.Helper()
	args := []string{"--maxmemory-policy", "noeviction"}
	if p.appendOnly {
		// The folder is the test's: that of redistest is another one after each restart.
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec", "--dir", t.TempDir())
	}
	if p.has(redisClock) {
		f.redis, f.redisClock = redistest.StartWithClock(t, args...)
	} else {
		f.redis = redistest.Start(t, args...)
	}
	f.control = redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	t.Cleanup(func() { _ = f.control.Close() })
	if p.has(redisFailed) {
		f.addReplica()
	}
}

// addReplica starts a replica and waits until it follows.
func (f *fleet) addReplica() {
	f.t.Helper()
	f.configure("repl-diskless-sync-delay", "0")
	f.replication = faultproxy.Start(f.t, f.redis.Addr)
	host, port, _ := net.SplitHostPort(f.replication.Addr)
	f.replica = redistest.Start(f.t, "--replicaof", host, port)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		info, err := f.control.Info(f.t.Context(), "replication").Result()
		if err == nil && strings.Contains(info, "state=online") {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("the replica does not follow after %v: %s, %v", patience, info, err)
		}
	}
}

// failOver makes the replica the primary of everybody.
func (f *fleet) failOver() {
	f.t.Helper()
	control := redis.NewClient(&redis.Options{Addr: f.replica.Addr})
	defer control.Close()
	if err := control.Do(f.t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		f.t.Fatalf("promote the replica: %v", err)
	}
	for _, link := range f.redisLinks {
		link.Retarget(f.replica.Addr)
	}
}

// addresses returns where a client finds the gateways.
func (f *fleet) addresses(client int) []string {
	var all []string
	for _, links := range f.clientLinks {
		all = append(all, links[client%sides].Addr)
	}
	return all
}

// suffer carries out the plan's faults and mends them. It returns when the last one was mended, and when the first one began
// and the last one ended.
func (f *fleet) suffer(p plan) (broken, mended time.Time) {
	f.t.Helper()
	type step struct {
		at time.Duration
		do func()
	}
	var steps []step
	for _, fault := range p.faults {
		steps = append(steps, step{fault.at, func() { f.breaks(fault) }}, step{fault.at + fault.dur, func() { f.mends(fault) }})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	start := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(start.Add(s.at)))
		s.do()
	}
	return start.Add(steps[0].at), time.Now()
}

func (f *fleet) link(x fault) *faultproxy.Proxy {
	if x.target()[0] == 'R' {
		return f.redisLinks[x.gateway]
	}
	return f.clientLinks[x.gateway][x.side]
}

func (f *fleet) breaks(x fault) {
	f.t.Helper()
	f.t.Logf("%s %v", time.Now().Format(clock), x)
	switch x.kind {
	case primaryKilled, primaryStopped, slotMoved:
		f.breakStore(x)
	case gatewayKilled:
		f.gateways[x.gateway].kill()
	case gatewayDrained:
		f.gateways[x.gateway].drain()
	case gatewayStopped:
		f.gateways[x.gateway].stop()
	case gatewayClock:
		f.gateways[x.gateway].clock.Jump(f.t, x.jump)
	case redisClock:
		f.redisClock.Jump(f.t, x.jump)
	case redisKilled:
		f.redis.Kill()
	case redisStopped:
		f.redis.Pause()
	case redisFailed:
		f.replication.Blackhole()
		time.Sleep(x.delay)
		f.redis.Kill()
	case redisFull:
		f.configure("maxmemory", "1mb") // less than an empty Redis takes: it refuses every write
	case redisLinkCut, clientLinkCut:
		f.link(x).Cut()
	case redisLinkDown, clientLinkDown:
		f.link(x).Refuse()
	case redisLinkSlow, clientLinkSlow:
		f.link(x).Delay(x.delay)
	case redisLinkHalf, clientLinkHalf:
		f.link(x).Blackhole()
	}
}

func (f *fleet) mends(x fault) {
	f.t.Helper()
	switch x.kind {
	case primaryKilled, primaryStopped, slotMoved:
		f.mendStore(x)
	case gatewayKilled:
		f.gateways[x.gateway].start()
	case gatewayDrained:
		f.gateways[x.gateway].drained()
		f.gateways[x.gateway].start()
	case gatewayStopped:
		f.gateways[x.gateway].resume()
	case gatewayClock:
		f.gateways[x.gateway].clock.Jump(f.t, 0) // it jumps back
	case redisClock:
		f.redisClock.Jump(f.t, 0)
	case redisKilled:
		f.redis.Restart()
	case redisStopped:
		f.redis.Resume()
	case redisFailed:
		f.failOver()
	case redisFull:
		f.configure("maxmemory", "0")
	case redisLinkCut, clientLinkCut: // a second time, so that a link that has just come back breaks too
		f.link(x).Cut()
	default:
		f.link(x).Restore()
	}
	f.t.Logf("%s mended: %v", time.Now().Format(clock), x)
}

func (f *fleet) configure(name, value string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := f.control.ConfigSet(ctx, name, value).Err(); err != nil {
		f.t.Fatalf("set %s of Redis to %s: %v", name, value, err)
	}
}

// clock is how times are written in the logs of a run.
const clock = "15:04:05.000"
