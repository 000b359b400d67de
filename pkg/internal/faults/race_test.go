//go:build race

package faults

// raceEnabled has the gateways look for races where the tests do.
const raceEnabled = true
