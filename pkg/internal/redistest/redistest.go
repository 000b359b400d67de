// Package redistest runs real redis-server processes for tests: on loopback, on a free port, in memory, each gone at the end of
// its test. It can kill, restart, stop and continue them. It knows nothing of this project.
package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/testport"
)

// patience bounds how long a server may take to start or to end.
const patience = 20 * time.Second

// Server is one redis-server process at a time, always on the same port. Its methods fail the test when they cannot do what
// they say. They are not safe for concurrent use.
type Server struct {
	// Addr is host:port, the same after every restart.
	Addr string
	// Port is Addr's port.
	Port int
	// bus is the port on which the nodes of a Redis Cluster talk with this one, 0 outside one.
	bus int

	t    testing.TB
	tls  bool
	args []string
	env  []string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
	// paused is true between Pause and Resume.
	paused bool
}

// Start runs a redis-server with the further arguments args ("--requirepass", "secret", …) and waits until it answers.
// With "--tls-port" among args Addr is the TLS port and the plain one is off; put "0" as its value, it is filled in, as is that of
// "--cluster-port".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, nil, args)
}

func start(t testing.TB, env, args []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: apt-get install redis-server (Debian, Ubuntu) or brew install redis")
	}
	s := &Server{t: t, args: args, env: env}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	// Somebody who does not reserve what he takes may have the port all the same: try again then.
	for attempt := 0; ; attempt++ {
		s.Port = testport.Reserve(t)
		if slices.Contains(args, "--cluster-port") {
			s.bus = testport.Reserve(t)
		}
		s.Addr = fmt.Sprintf("127.0.0.1:%d", s.Port)
		err := s.run()
		if err == nil {
			return s
		}
		if attempt == 4 {
			t.Fatalf("start redis-server: %v", err)
		}
	}
}

// URL is the server's address as redis://host:port, or rediss:// when it speaks TLS.
func (s *Server) URL() string {
	if s.tls {
		return "rediss://" + s.Addr
	}
	return "redis://" + s.Addr
}

// PID is the process id of the running server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("kill redis-server: it is not running")
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.done
	s.cmd, s.paused = nil, false
}

// Restart starts a killed server again on its old port, empty unless args say otherwise, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("restart redis-server: it is running, kill it first")
	}
	if err := s.run(); err != nil {
		s.t.Fatalf("restart redis-server: %v", err)
	}
}

// RestartWith starts a killed server again with other arguments than before.
func (s *Server) RestartWith(args ...string) {
	s.t.Helper()
	s.args = args
	s.Restart()
}

// Pause stops the process with SIGSTOP: its sockets stay open and nothing answers.
func (s *Server) Pause() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("stop redis-server: %v", err)
	}
	s.paused = true
}

// Resume continues a paused process.
func (s *Server) Resume() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatalf("continue redis-server: %v", err)
	}
	s.paused = false
}

// Log returns the last output of the running or last server.
func (s *Server) Log() string { return s.log.String() }

// Monitor returns every command that the server gets from now on, a line each as MONITOR writes it, until stop is called.
// It needs a server without password and TLS.
func (s *Server) Monitor() (stop func() []string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		s.t.Fatalf("monitor: %v", err)
	}
	reader := bufio.NewReader(conn)
	_, _ = io.WriteString(conn, "MONITOR\r\n")
	if line, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
		s.t.Fatalf("monitor: %q, %v", line, err)
	}
	lines := make(chan []string)
	go func() {
		var all []string
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				lines <- all
				return
			}
			all = append(all, strings.TrimSpace(line))
		}
	}()
	return func() []string {
		_ = conn.Close()
		return <-lines
	}
}

func (s *Server) run() error {
	s.tls = false
	args := []string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.Port), "--save", "", "--appendonly", "no", "--dir", s.t.TempDir()}
	for i := 0; i < len(s.args); i++ {
		if s.args[i] == "--tls-port" && i+1 < len(s.args) {
			args = append(args, "--port", "0", "--tls-port", fmt.Sprint(s.Port))
			s.tls = true
			i++
			continue
		}
		if s.args[i] == "--cluster-port" && i+1 < len(s.args) {
			args = append(args, "--cluster-port", fmt.Sprint(s.bus))
			i++
			continue
		}
		args = append(args, s.args[i])
	}
	cmd := exec.Command("redis-server", args...)
	log := &tail{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), s.env...)
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	deadline := time.Now().Add(patience)
	for {
		select {
		case <-done:
			return fmt.Errorf("it ended at once: %s", log)
		default:
		}
		if answers(s.Addr, s.tls) {
			s.cmd, s.log, s.done = cmd, log, done
			return nil
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			<-done
			return fmt.Errorf("it did not answer within %v: %s", patience, log)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// answers is true once PING gets a reply of any kind (an error for want of a password is one), or a TLS port hangs up on the
// plain text. A server that still loads its data does not count.
func answers(addr string, tls bool) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	if err != nil {
		return tls
	}
	return !bytes.HasPrefix(reply[:n], []byte("-LOADING"))
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
	l.buf = append(l.buf, p...)
	if len(l.buf) > tailBytes {
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-tailBytes:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
