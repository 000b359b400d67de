package faults

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the gateway when the test process dies without running its cleanups.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
