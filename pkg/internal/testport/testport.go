// Package testport gives tests ports of loopback that stay theirs: for what listens only later, or again after it was ended. A port that
// the system has found free once ("127.0.0.1:0") is soon given to somebody else, and then one test talks to another one's server.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

const (
	lowest  = 10_240
	highest = 65_535
	// fewest is how many ports a range must have to be chosen from.
	fewest = 1000
	tries  = 200
)

// Reserve returns a TCP port of 127.0.0.1 on which nobody listens, and which no other caller gets, in any process, until the test has
// ended. It is not one of those that the system gives to outgoing connections, unless it leaves hardly any others.
func Reserve(t testing.TB) int {
	t.Helper()
	port, release, err := Take()
	if err != nil {
		t.Fatalf("reserve a port: %v", err)
	}
	t.Cleanup(release)
	return port
}

// Take is Reserve for where there is no test yet: the port is the caller's until it calls release.
func Take() (port int, release func(), err error) { return reserve(ranges(ephemeral())) }

// Address is Reserve as 127.0.0.1:port.
func Address(t testing.TB) string {
	t.Helper()
	return address(Reserve(t))
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// reserve takes a port of one of the ranges. What says that it is taken is the UDP port of the same number, which nobody else needs.
func reserve(from [][2]int) (port int, release func(), err error) {
	for range tries {
		r := from[rand.IntN(len(from))]
		port = r[0] + rand.IntN(r[1]-r[0]+1)
		var mark net.PacketConn
		if mark, err = net.ListenPacket("udp4", address(port)); err != nil {
			continue
		}
		var probe net.Listener
		if probe, err = net.Listen("tcp4", address(port)); err != nil {
			_ = mark.Close()
			continue
		}
		_ = probe.Close()
		return port, func() { _ = mark.Close() }, nil
	}
	return 0, nil, err
}

// ephemeral is the range that the system takes the ports of outgoing connections from: Linux says it, and others have IANA's.
func ephemeral() (first, last int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if n, err := fmt.Sscan(string(text), &first, &last); n == 2 && err == nil {
			return first, last
		}
	}
	return 49_152, highest
}

// ranges are the ports below and above those of outgoing connections, or all where these are too few.
func ranges(first, last int) (all [][2]int) {
	for _, r := range [][2]int{{lowest, first - 1}, {max(last+1, lowest), highest}} {
		if r[1]-r[0] >= fewest {
			all = append(all, r)
		}
	}
	if all == nil {
		all = [][2]int{{lowest, highest}}
	}
	return all
}
