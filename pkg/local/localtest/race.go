//go:build race

package localtest

// raceEnabled: the test looks for races, so the program that it runs does too.
const raceEnabled = true
