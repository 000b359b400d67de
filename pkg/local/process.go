package local

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// spawner starts child processes that cannot outlive this one, however it ends: the kernel kills them when the thread that
// started them is gone (PR_SET_PDEATHSIG), so one thread does it that lives until close.
type spawner struct {
	requests chan func()
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for request := range s.requests {
			request()
		}
	}()
	return s
}

// close ends the thread, and with it every child that still runs.
func (s *spawner) close() { close(s.requests) }

// process is a running child.
type process struct {
	command *exec.Cmd
	// done is closed when it has ended and its output has been read; err says how it ended then.
	done chan struct{}
	err  error
}

// start runs the command in a process group of its own, so that a Ctrl-C of the terminal does not reach it: the caller decides
// who ends when. Each line that it prints is handed to line, one at a time.
func (s *spawner) start(command *exec.Cmd, line func(string)) (*process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = input, input
	started := make(chan error)
	s.requests <- func() { started <- command.Start() }
	err = <-started
	closeErr := input.Close()
	if err = errors.Join(err, closeErr); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	p := &process{command: command, done: make(chan struct{})}
	go func() {
		readLines(output, line)
		p.err = command.Wait()
		_ = output.Close()
		close(p.done)
	}()
	return p, nil
}

// readLines hands over each line; one that is over 64 KiB comes in pieces.
func readLines(from io.Reader, line func(string)) {
	reader := bufio.NewReaderSize(from, 64<<10)
	for {
		text, err := reader.ReadSlice('\n')
		if trimmed := strings.TrimRight(string(text), "\r\n"); trimmed != "" {
			line(trimmed)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (p *process) pid() int { return p.command.Process.Pid }

// terminate asks it to end in its own time; kill ends it. Both do nothing to one that has ended.
func (p *process) terminate() { _ = p.command.Process.Signal(syscall.SIGTERM) }
func (p *process) kill()      { _ = p.command.Process.Kill() }

// ending says how it ended: "exited with status 2" or "killed by signal: killed". Only after done.
func (p *process) ending() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return "exited"
	case errors.As(p.err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return "was ended by signal " + status.Signal().String()
		}
		return strings.Replace(exit.Error(), "exit status", "exited with status", 1)
	}
	return p.err.Error()
}
