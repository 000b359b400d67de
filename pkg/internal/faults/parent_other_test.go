//go:build !linux

package faults

import "os/exec"

// dieWithParent does nothing where the kernel offers nothing of the kind: a test process that is killed leaves its gateways.
func dieWithParent(*exec.Cmd) {}
