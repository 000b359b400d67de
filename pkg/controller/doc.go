// Package controller makes the cluster's objects be what pkg/manifests says, and reports what became of them in the status of
// the WebSocketCluster. It owns applying, pruning, observing and reporting; it builds no object itself and decides nothing about
// clients. Decisions about the status are pure functions of what was observed (status_*.go, diagnose.go).
package controller
