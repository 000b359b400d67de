// Package socket carries WebSocket connections at the least cost a connection and a delivery that the machine allows.
// gorilla/websocket makes the handshake; from then on the file descriptor is ours. The package owns descriptors, RFC 6455
// framing, heartbeats and the closing handshake; it knows nothing of rooms, users or JSON.
//
// An Acceptor takes clients in: it accepts, and reads what each says first, in one goroutine for all. It knows nothing of HTTP.
//
// Three decisions carry the cost (docs/performance.md has the measurements):
//
//   - Reading: one epoll set a poller, edge-triggered. A poller's goroutine reads whatever socket has bytes into its own
//     scratch buffer and calls the handler right there. An idle connection has no goroutine, no buffer and no net.Conn.
//   - Writing: Send writes to the descriptor from the caller's goroutine without blocking. Only what the socket does not take
//     is queued (bounded, sharing the sender's bytes) and written by the poller when there is room again.
//   - Closing: only the poller's goroutine closes a descriptor, under the connection's lock, so no write or read can hit a
//     descriptor that the kernel has already given to somebody else.
package socket
