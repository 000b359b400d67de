//go:build unix && !linux

package redis

import "syscall"

// peek says how many bytes, 0 or 1, could be read now.
func peek(fd uintptr) (int, error) {
	var first [1]byte
	n, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK) // sockets of Go do not block
	return n, err
}
