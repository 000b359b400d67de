// Command talk has two clients talk through a WebSocketCluster and prints what each of them gets, frame by frame: a message in
// a room and a direct message back, between two different gateways. It is what `make quickstart` ends with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

func main() {
	var from []net.IP
	flag.Func("from", "address to connect from; give several, so that session affinity sends them to different gateways", func(text string) error {
		ip := net.ParseIP(text)
		if ip == nil {
			return errors.New("write an IP address")
		}
		from = append(from, ip)
		return nil
	})
	timeout := flag.Duration("timeout", time.Minute, "how long it may take altogether")
	wait := flag.Duration("wait", 20*time.Second, "how long to try again while nobody answers: a node's rules for a Service follow its pods with some delay")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: talk [-from IP]... URL...\n\nURL is of a Service, or of several gateways, like ws://127.0.0.1:8080/ws; its gateways must believe ?user_id=.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	err := talk(ctx, os.Stdout, flag.Args(), from, *wait)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "talk:", err)
		os.Exit(1)
	}
}

// talk connects alice and bob to different gateways and passes two messages. It fails when anything else comes than what should,
// or when nobody answers for that long.
func talk(ctx context.Context, out io.Writer, urls []string, from []net.IP, wait time.Duration) error {
	until := time.Now().Add(wait)
	alice, err := connectUntil(ctx, until, out, "alice", urls[0], address(from, 0))
	if err != nil {
		return err
	}
	defer alice.close()
	bob, err := connectElsewhere(ctx, until, out, "bob", urls, from, alice.gateway)
	if err != nil {
		return err
	}
	defer bob.close()
	for _, c := range []*client{alice, bob} {
		if err := c.command(`{"type":"join","id":"1","room_id":"lobby"}`); err != nil {
			return err
		}
	}
	if err := alice.command(`{"type":"publish","id":"2","room_id":"lobby","echo":false,"data":"Hello, is anybody there?"}`); err != nil {
		return err
	}
	if err := bob.message("alice", "Hello, is anybody there?"); err != nil {
		return err
	}
	if err := bob.command(`{"type":"publish","id":"2","target_user_id":"alice","data":"Hello Alice, I am on another pod."}`); err != nil {
		return err
	}
	return alice.message("bob", "Hello Alice, I am on another pod.")
}

// connectUntil connects, and tries again until that time while the connection is refused.
func connectUntil(ctx context.Context, until time.Time, out io.Writer, user, url string, from net.IP) (*client, error) {
	for {
		c, err := connect(ctx, out, user, url, from)
		if !errors.Is(err, syscall.ECONNREFUSED) || !pause(ctx, until) {
			return c, err
		}
	}
}

// connectElsewhere connects to another gateway than the given one, as far as the addresses to connect from and to allow it.
// It does not hurry, since the Service may know one gateway only at first, and what an address was sent to it stays with.
func connectElsewhere(ctx context.Context, until time.Time, out io.Writer, user string, urls []string, from []net.IP, taken string) (*client, error) {
	attempts := max(len(urls), len(from))
	for i := 1; i < attempts; i++ {
		c, err := connectUntil(ctx, until, io.Discard, user, urls[i%len(urls)], address(from, i))
		if err != nil {
			return nil, err
		}
		if c.gateway != taken {
			c.speak(out)
			return c, nil
		}
		c.close()
		pause(ctx, until)
	}
	return nil, fmt.Errorf("every connection led to the gateway %s; give more addresses to connect from (-from), or the URLs of two gateways", taken)
}

// pause waits a moment before the next attempt, and says whether there is time for one.
func pause(ctx context.Context, until time.Time) bool {
	const moment = 300 * time.Millisecond
	if time.Until(until) < moment {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(moment):
		return true
	}
}

func address(from []net.IP, i int) net.IP {
	if len(from) == 0 {
		return nil
	}
	return from[i%len(from)]
}

// quoted makes an error of a frame that should not have come.
func quoted(user, wanted string, frame []byte) error {
	return fmt.Errorf("%s wanted %s and got %s", user, wanted, strings.TrimSpace(string(frame)))
}
