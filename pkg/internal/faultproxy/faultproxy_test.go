package faultproxy

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestAProxyThatRefusesKeepsItsPort(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	p := Start(t, target.Addr().String())
	for range 3 {
		p.Refuse()
		if conn, err := net.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting gave %v, %v, want a refusal", conn, err)
		}
		if l, err := net.Listen("tcp", p.Addr); err == nil {
			t.Errorf("somebody else may listen on %v", l.Addr())
		}
		p.Restore()
		conn, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatalf("connecting after Restore: %v", err)
		}
		_ = conn.Close()
	}
}
