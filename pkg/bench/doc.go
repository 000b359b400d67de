// Package bench loads gateways and checks what they deliver. Some clients publish stamped messages into rooms, others are in
// those rooms, and from the stamps that come back it tells latencies, and with a check what was lost, doubled or reordered.
//
// It owns the generator's connections (cheap ones: one event loop, raw framing, no JSON on the way of a delivery), how they
// come back when they end, the load and the bookkeeping. It knows nothing of processes and their CPU: package bench of the
// module in the folder bench/ measures those. What other servers speak is added by a Dialect.
package bench
