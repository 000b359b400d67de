package local

import (
	"net/netip"
	"time"
)

// affinity remembers which backend each client address came to, as kube-proxy does for sessionAffinity: ClientIP: the memory
// holds for the timeout after the client's last new connection, and ends at once for a backend that is not ready any more.
// It is not safe for concurrent use.
type affinity struct {
	// timeout of 0 remembers nothing.
	timeout time.Duration
	entries map[netip.Addr]affinityEntry
	swept   time.Time
}

type affinityEntry struct {
	backend string
	// last is when the client last opened a connection.
	last time.Time
}

// backend returns where the client came last; empty: no memory that still holds.
func (a *affinity) backend(client netip.Addr, now time.Time) string {
	entry, found := a.entries[client]
	if !found || a.timeout == 0 || now.Sub(entry.last) > a.timeout {
		return ""
	}
	return entry.backend
}

// remember notes a new connection of the client.
func (a *affinity) remember(client netip.Addr, backend string, now time.Time) {
	if a.timeout == 0 {
		return
	}
	if a.entries == nil {
		a.entries = map[netip.Addr]affinityEntry{}
	}
	a.entries[client] = affinityEntry{backend, now}
	if now.Sub(a.swept) > a.timeout {
		a.swept = now
		for address, entry := range a.entries {
			if now.Sub(entry.last) > a.timeout {
				delete(a.entries, address)
			}
		}
	}
}

// forget drops the memory of everybody who came to the backend.
func (a *affinity) forget(backend string) {
	for address, entry := range a.entries {
		if entry.backend == backend {
			delete(a.entries, address)
		}
	}
}
