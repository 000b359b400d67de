package faults

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/testport"
)

// patience bounds every wait for something that has to happen: generous, since machines that test are busy.
const patience = 30 * time.Second

// build builds the gateway into folder under a name, with further flags of go build, and returns its path.
func build(folder, name string, flags ...string) (string, error) {
	path := filepath.Join(folder, name)
	args := append([]string{"build", "-o", path}, flags...)
	if raceEnabled {
		args = append(args, "-race")
	}
	output, err := exec.Command("go", append(args, "github.com/wscluster/wscluster/cmd/gateway")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
}

// gateway is one gateway process at a time, always on the same port.
type gateway struct {
	t       testing.TB
	number  int
	addr    string
	program string
	args    []string
	clock   wallClock // moved only where the program is jumpingGateway's
	log     *os.File
	cmd     *exec.Cmd
	done    chan struct{}
}

func startGateway(t testing.TB, program, folder string, number int, backplane, settings string) *gateway {
	t.Helper()
	// Each has a file of its own: gateways reload what is written while they run.
	config := filepath.Join(folder, fmt.Sprintf("gateway-%d.yaml", number))
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(folder, fmt.Sprintf("gateway-%d.log", number)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, number: number, addr: testport.Address(t), program: program, clock: newWallClock(t, folder, number), log: log}
	g.args = []string{
		"--config", config, "--listen", g.addr, "--api-listen=", "--ops-listen", "127.0.0.1:0", "--node", fmt.Sprintf("gateway-%d", number),
		"--backplane", backplane, "--log-level", "debug", "--log-format", "text",
	}
	t.Cleanup(func() {
		if g.cmd != nil {
			g.kill()
		}
		_ = log.Close()
	})
	g.start()
	return g
}

// start begins the process and waits until it listens.
func (g *gateway) start() {
	g.t.Helper()
	g.cmd = exec.Command(g.program, g.args...)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.Env = append(os.Environ(), "CLOCK_FILE="+g.clock.path)
	dieWithParent(g.cmd)
	if err := g.cmd.Start(); err != nil {
		g.t.Fatalf("start gateway %d: %v", g.number, err)
	}
	cmd, done := g.cmd, make(chan struct{})
	g.done = done
	go func() {
		_ = cmd.Wait() // ProcessState says how it ended
		close(done)
	}()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", g.addr, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-done:
			g.t.Fatalf("gateway %d ended at once, its log is %s", g.number, g.log.Name())
		default:
		}
		if time.Now().After(end) {
			g.t.Fatalf("gateway %d does not listen on %s after %v, its log is %s", g.number, g.addr, patience, g.log.Name())
		}
	}
}

// kill ends it as the kernel does when memory is short.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill() // it may have ended by itself
	<-g.done
	g.cmd = nil
}

// stop freezes the process, so that it does not hear and say anything, until resume.
func (g *gateway) stop()   { _ = g.cmd.Process.Signal(syscall.SIGSTOP) }
func (g *gateway) resume() { _ = g.cmd.Process.Signal(syscall.SIGCONT) }

// drain asks it to leave; drained waits until it has.
func (g *gateway) drain() { _ = g.cmd.Process.Signal(syscall.SIGTERM) }

func (g *gateway) drained() {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatalf("gateway %d has not drained %v after SIGTERM", g.number, patience)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		g.t.Errorf("gateway %d ended its drain with exit status %d, want 0", g.number, code)
	}
	g.cmd = nil
}

// check tells what is wrong with a gateway that should run: it has ended by itself, or its log has what no fault explains.
func (g *gateway) check() error {
	select {
	case <-g.done:
		return fmt.Errorf("gateway %d ended by itself: %v", g.number, g.cmd.ProcessState)
	default:
	}
	log, err := os.ReadFile(g.log.Name())
	if err != nil {
		return err
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "level=ERROR"} {
		if bytes.Contains(log, []byte(bad)) {
			return fmt.Errorf("the log of gateway %d has %q: %s", g.number, bad, g.log.Name())
		}
	}
	return nil
}
