//go:build !race

package localtest

const raceEnabled = false
