//go:build !race

package wsctest

const raceEnabled = false
