package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// settleEvery is how many pings lie between two looks whether the links still lead to the primary, beside the news of a switch.
const settleEvery = 5

// sentinels finds the primary that Sentinel has chosen, and cuts the links that lead elsewhere: a primary that was only cut off
// from the sentinels, and not from us, would go on to take messages that nobody keeps. All methods are safe for concurrent use.
type sentinels struct {
	// Fixed by New.
	addrs  []string
	master string
	dial   func(ctx context.Context, addr string) (net.Conn, error)
	timing Timing
	links  *linkSet
}

// answer is what one sentinel says of the primary. Of two answers the one of the later epoch holds.
type answer struct {
	addr  string
	epoch int64
	err   error
}

// primary asks all sentinels where the primary is and returns the newest answer of those that came first: a majority, or as
// many as can be had in half the time of a dial. A sentinel that was away for a while is outvoted that way.
func (s *sentinels) primary(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Dial/2)
	defer cancel()
	answers := make(chan answer, len(s.addrs))
	for _, addr := range s.addrs {
		go func() { answers <- s.ask(ctx, addr) }()
	}
	var best answer
	var reasons []error
	for good := 0; good <= len(s.addrs)/2 && good+len(reasons) < len(s.addrs); {
		switch a := <-answers; {
		case a.err != nil:
			reasons = append(reasons, a.err)
		default:
			good++
			if best.addr == "" || a.epoch > best.epoch {
				best = a
			}
		}
	}
	if best.addr == "" {
		return "", fmt.Errorf("no sentinel names the primary %q: %w", s.master, reasons[0])
	}
	return best.addr, nil
}

// ask asks one sentinel. It ends with ctx.
func (s *sentinels) ask(ctx context.Context, addr string) answer {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return answer{err: err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(appendCommand(nil, "SENTINEL", "MASTER", s.master)); err != nil {
		return answer{err: fmt.Errorf("ask the sentinel %s: %w", addr, err)}
	}
	reply, err := newRESPReader(conn).value()
	if err != nil {
		return answer{err: fmt.Errorf("ask the sentinel %s: %w", addr, err)}
	}
	a, err := readAnswer(reply)
	if err != nil {
		return answer{err: fmt.Errorf("ask the sentinel %s: %w", addr, err)}
	}
	return a
}

// readAnswer reads the reply to SENTINEL MASTER: names and values in turn.
func readAnswer(reply any) (answer, error) {
	list, _ := reply.([]any)
	values := make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		name, _ := list[i].(string)
		values[name], _ = list[i+1].(string)
	}
	epoch, err := strconv.ParseInt(values["config-epoch"], 10, 64)
	if err != nil || values["ip"] == "" || values["port"] == "" {
		return answer{}, errors.New("it answered SENTINEL MASTER with something else than a primary; is it a sentinel?")
	}
	return answer{addr: net.JoinHostPort(values["ip"], values["port"]), epoch: epoch}, nil
}

// settle cuts the links to what the sentinels do not hold for the primary any more.
func (s *sentinels) settle(ctx context.Context) {
	before := s.links.snapshot()
	addr, err := s.primary(ctx)
	if err != nil {
		return // without sentinels everything stays as it is
	}
	for l, to := range before {
		if to != "" && to != addr {
			l.cut()
		}
	}
}

// watch follows one sentinel after the other until ctx ends.
func (s *sentinels) watch(ctx context.Context) {
	down := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		begun := time.Now()
		s.follow(ctx, s.addrs[i%len(s.addrs)])
		if time.Since(begun) > s.timing.Silence {
			down = time.Now()
		}
		select {
		case <-time.After(s.timing.backoff(down, time.Now())):
		case <-ctx.Done():
		}
	}
}

// follow hears from one sentinel of switches until it breaks or says nothing for too long. That says nothing of Redis, so
// nobody is told.
func (s *sentinels) follow(ctx context.Context, addr string) {
	dialing, dialed := context.WithTimeout(ctx, s.timing.Dial)
	conn, err := s.dial(dialing, addr)
	dialed()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	if _, err := conn.Write(appendCommand(nil, "SUBSCRIBE", "+switch-master")); err != nil {
		return
	}
	pings.Go(func() { s.ping(ctx, conn) })
	reader := newRESPReader(conn)
	for pongs := 0; ; {
		_ = conn.SetReadDeadline(time.Now().Add(s.timing.Silence))
		p, err := reader.push()
		switch {
		case err != nil:
			return
		case p.kind == pushMessage:
			// The payload is the name, then address and port of the old primary and of the new one.
			if f := strings.Fields(string(p.payload)); len(f) == 5 && f[0] == s.master {
				s.links.keepOnly(net.JoinHostPort(f[3], f[4]))
			}
		case p.kind == pushPong:
			if pongs%settleEvery == 0 {
				s.settle(ctx)
			}
			pongs++
		}
	}
}

// ping keeps a sentinel answering. The first ping follows the subscription, so that no switch falls between two looks.
func (s *sentinels) ping(ctx context.Context, conn net.Conn) {
	ticker := time.NewTicker(s.timing.Ping)
	defer ticker.Stop()
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(s.timing.Silence))
		if _, err := conn.Write(appendCommand(nil, "PING")); err != nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
