// Package model holds whole gateways to a reference model: its test runs random interleavings of all that clients do and that
// breaks under them, over real gateways, sockets and a real Redis, and compares what every client was told with what docs/protocol.md
// says that it must and may be told. It owns the steps of a run, their generator, the world that carries them out and the reference.
//
// The faults of package faults are heavier, and look at rooms with history only; here many short runs look at everything:
// rooms with and without history, direct messages and inboxes, echo: false, idempotency keys, and who is in a room.
package model
