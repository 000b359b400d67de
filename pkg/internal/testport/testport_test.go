package testport

import (
	"fmt"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAReservedPortIsNobodyElsesUntilTheTestEnds(t *testing.T) {
	var port int
	t.Run("reserved", func(t *testing.T) {
		port = Reserve(t)
		only := [][2]int{{port, port}}
		if _, _, err := reserve(only); err == nil {
			t.Error("the port was given away twice")
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("who reserved it must be able to listen: %v", err)
		}
		_ = listener.Close()
	})
	got, release, err := reserve([][2]int{{port, port}})
	if err != nil || got != port {
		t.Fatalf("after the test the port can be had again: %d, %v", got, err)
	}
	release()
}

func TestAPortThatSomebodyListensOnIsNotGiven(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	if _, _, err := reserve([][2]int{{port, port}}); err == nil {
		t.Error("a port was given that is taken")
	}
}

func TestPortsOfOutgoingConnectionsAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		first, last int
		want        [][2]int
	}{
		{32_768, 60_999, [][2]int{{lowest, 32_767}, {61_000, highest}}},
		{49_152, 65_535, [][2]int{{lowest, 49_151}}},
		{1_024, 20_000, [][2]int{{20_001, highest}}},
		{1_024, 5_000, [][2]int{{lowest, highest}}},
		{1_024, 65_535, [][2]int{{lowest, highest}}},
	} {
		if diff := cmp.Diff(c.want, ranges(c.first, c.last)); diff != "" {
			t.Errorf("beside %d to %d (-want +got):\n%s", c.first, c.last, diff)
		}
	}
}
