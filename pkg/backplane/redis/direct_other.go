//go:build !linux

package redis

import "net"

// direct returns conn: elsewhere system calls are the business of the system's library.
func direct(conn net.Conn) net.Conn { return conn }
