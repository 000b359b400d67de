// Package process runs the measured servers as processes of their own and reads what they cost: CPU time and memory, from the
// kernel. It knows nothing of what they serve.
package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds how long a server may take to start or to end.
const patience = 20 * time.Second

// Process is one running server. Its methods are for one goroutine at a time.
type Process struct {
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// Start runs a program and waits until its address (host:port) accepts connections. The process dies with this one.
func Start(address, program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...)
	p := &Process{cmd: cmd, log: &tail{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		close(p.done)
	}()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.done:
			return nil, fmt.Errorf("%s ended at once: %s", program, p.log)
		default:
		}
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = conn.Close() // it was only to see that somebody listens
			return p, nil
		}
		if time.Now().After(end) {
			p.Stop()
			return nil, fmt.Errorf("%s does not listen on %s after %v: %s", program, address, patience, p.log)
		}
	}
}

// Stop ends the process and waits until it is gone.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Log returns the last output.
func (p *Process) Log() string { return p.log.String() }

// CPU returns the CPU time, user and system, that the process has used so far, to the nanosecond.
func (p *Process) CPU() (time.Duration, error) {
	// The clock of another process: its number, inverted, beside "scheduler time of the whole process" (linux/posix-timers.h).
	var spec unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|2), &spec); err != nil {
		return 0, fmt.Errorf("the CPU clock of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(spec.Nano()), nil
}

// RSS returns the bytes of memory that the process has resident.
func (p *Process) RSS() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("no VmRSS in the process's status")
}

// FreeAddress returns an address of loopback with a port that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 16 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf = append(l.buf, p...); len(l.buf) > tailBytes {
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-tailBytes:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
