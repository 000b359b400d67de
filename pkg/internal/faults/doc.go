// Package faults proves the guarantees of docs/protocol.md under faults: its tests run real gateways and a real Redis behind
// links that break, with clients that publish, reconnect and recover, and then hold what was acked against what every client got.
// `make faults` runs many; a plain `go test` runs a few. It owns the plan of a run, the fleet, the clients and the ledger.
package faults
