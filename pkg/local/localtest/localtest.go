// Package localtest runs the real wsc program for tests, on loopback, and reads what it prints. Each run is gone at the end of
// its test. It knows the lines that wsc prints, nothing else of this project.
package localtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for something to happen: generous, since machines that test are busy.
const Patience = 30 * time.Second

// Build builds wsc into folder and returns its path.
func Build(folder string) (string, error) {
	path := filepath.Join(folder, "wsc")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	output, err := exec.Command("go", append(args, "github.com/wscluster/wscluster/cmd/wsc")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
}

// Run is one wsc process. Its methods fail the test when they cannot do what they say.
type Run struct {
	t   testing.TB
	cmd *exec.Cmd
	// done is closed when it has ended.
	done chan struct{}

	mu      sync.Mutex
	lines   []string
	changed chan struct{}
	read    int // lines before it have been waited for
}

// Start runs "wsc run" with the arguments and the environment in a folder of its own; a nil environment is the test's own.
func Start(t testing.TB, program string, environment []string, args ...string) *Run {
	t.Helper()
	return StartIn(t, t.TempDir(), program, environment, args...)
}

// StartIn is Start in a folder that another run has left.
func StartIn(t testing.TB, folder, program string, environment []string, args ...string) *Run {
	t.Helper()
	r := &Run{t: t, cmd: exec.Command(program, append([]string{"run"}, args...)...), done: make(chan struct{}), changed: make(chan struct{})}
	r.cmd.Env = environment
	r.cmd.Dir = folder
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = input, input
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	input.Close()
	go func() {
		r.collect(output)
		_ = r.cmd.Wait() // ProcessState says how
		close(r.done)
	}()
	t.Cleanup(func() {
		r.Kill()
		if t.Failed() {
			t.Logf("wsc printed:\n%s", strings.Join(r.Lines(), "\n"))
		}
	})
	return r
}

func (r *Run) collect(output io.ReadCloser) {
	defer output.Close()
	scanner := bufio.NewScanner(output)
	for scanner.Scan() {
		r.mu.Lock()
		r.lines = append(r.lines, scanner.Text())
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
	}
}

// Folder is where it runs.
func (r *Run) Folder() string { return r.cmd.Dir }

// Lines returns everything printed so far.
func (r *Run) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// Await waits for a line that matches the pattern, after those that were awaited before, and returns its groups.
func (r *Run) Await(pattern string) []string {
	r.t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.After(Patience)
	for {
		r.mu.Lock()
		changed := r.changed
		for i := r.read; i < len(r.lines); i++ {
			if found := expression.FindStringSubmatch(r.lines[i]); found != nil {
				r.read = i + 1
				r.mu.Unlock()
				return found
			}
		}
		r.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("wsc did not print a line like %q within %s", pattern, Patience)
		}
	}
}

// Gateway is one that is ready.
type Gateway struct {
	Name string
	PID  int
	// Address is its own, host:port.
	Address string
}

// AwaitUp waits until every replica is ready and returns the balancer's host:port.
func (r *Run) AwaitUp() string {
	r.t.Helper()
	r.Await(` is up: `)
	return r.Await(`Client +ws://([^/]+)/ws`)[1]
}

var (
	startedLine = regexp.MustCompile(`(\S+): started, pid (\d+)`)
	readyLine   = regexp.MustCompile(`(\S+): ready at http://(\S+)`)
)

// Gateways returns the newest of each gateway that was ever ready, by name.
func (r *Run) Gateways() map[string]Gateway {
	all := map[string]Gateway{}
	pids := map[string]int{}
	for _, line := range r.Lines() {
		if found := startedLine.FindStringSubmatch(line); found != nil {
			pids[found[1]], _ = strconv.Atoi(found[2]) // \d+
		}
		if found := readyLine.FindStringSubmatch(line); found != nil {
			all[found[1]] = Gateway{found[1], pids[found[1]], found[2]}
		}
	}
	return all
}

// Interrupt is Ctrl-C.
func (r *Run) Interrupt() { _ = r.cmd.Process.Signal(os.Interrupt) }

// Kill ends it as kill -9 does and waits for its end.
func (r *Run) Kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// AwaitEnd waits for its end and returns the exit status.
func (r *Run) AwaitEnd() int {
	r.t.Helper()
	select {
	case <-r.done:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		r.t.Fatalf("wsc did not end within %s", Patience)
		return -1
	}
}
