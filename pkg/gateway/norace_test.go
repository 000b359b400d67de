//go:build !race

package gateway

// raceDetector is true in tests with -race, where everything takes ten times as long.
const raceDetector = false
