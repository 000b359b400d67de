//go:build !linux

package redistest

import "os/exec"

// dieWithParent does nothing where the kernel offers nothing of the kind: a test process that is killed leaves its server.
func dieWithParent(*exec.Cmd) {}
