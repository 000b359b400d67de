//go:build !unix

package faultproxy

import (
	"net"
	"syscall"
)

// reserve does nothing where ports cannot be shared: another process may take the port while the proxy refuses connections.
func reserve(*net.TCPAddr) (release func(), err error) { return func() {}, nil }

func shared(string, string, syscall.RawConn) error { return nil }
