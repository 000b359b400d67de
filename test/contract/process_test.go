package contract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/wscluster/wscluster/pkg/gateway" // unused: it has go test run again, and not answer from its cache, when the gateway has changed
)

// patience bounds how long a test waits for what must come. Nothing waits that long unless it fails.
const patience = 30 * time.Second

// interrupt is what Ctrl-C sends.
const interrupt = syscall.SIGINT

// Made once, by TestMain.
var (
	folder        string // for what lives as long as all tests
	gatewayBinary string
)

// TestMain builds the gateway, and at the end looks for secrets in all that all gateways logged.
func TestMain(m *testing.M) {
	status := func() int {
		var err error
		if folder, err = os.MkdirTemp("", "wscluster-contract-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		gatewayBinary = filepath.Join(folder, "gateway")
		if out, err := exec.Command("go", "build", "-o", gatewayBinary, "../../cmd/gateway").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the gateway: %v\n%s", err, out)
			return 1
		}
		status := m.Run()
		endShared()
		if leak := leakedSecret(); leak != "" {
			fmt.Fprintln(os.Stderr, "FAIL: the log of a gateway holds a token or a payload:", leak)
			return 1
		}
		return status
	}()
	os.Exit(status)
}

// ends stop the processes that live as long as all tests.
var ends []func()

func endShared() {
	for _, end := range ends {
		end()
	}
}

// logs is all that all gateways have written, and secrets what must not be in it.
var logs, secrets struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// secret notes a token, a key or a part of a payload, which no log may hold.
func secret(text string) string {
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	secrets.text.WriteString(text + "\n")
	return text
}

func leakedSecret() string {
	logs.mu.Lock()
	defer logs.mu.Unlock()
	for text := range strings.FieldsSeq(secrets.text.String()) {
		if at := strings.Index(logs.text.String(), text); at >= 0 {
			return text
		}
	}
	return ""
}

// buffer keeps what a process writes; it may be read at any time.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.text.Write(p)
	b.mu.Unlock()
	logs.mu.Lock()
	logs.text.Write(p)
	logs.mu.Unlock()
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// gateway is a gateway process.
type gateway struct {
	cmd *exec.Cmd
	// public, api and ops are host:port; api is empty where the server API is off.
	public, api, ops string
	config           string // the settings file
	log              *buffer
	ended            chan struct{}
}

// loopback has a gateway take free ports.
var loopback = []string{"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--log-level=debug"}

// startGateway runs a gateway with a settings file and more flags, or variables (WSC_NAME=value), until the end of the test, and waits until it is ready.
func startGateway(t *testing.T, config string, flags ...string) *gateway {
	t.Helper()
	g, err := runGateway(t.TempDir(), config, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("the log of the gateway:\n%.20000s", g.log)
		}
	})
	eventually(t, "the gateway is ready", func() bool { return ask(t, "GET", "http://"+g.ops+"/readyz", "").status == 200 })
	return g
}

func runGateway(dir, config string, flags ...string) (*gateway, error) {
	g := &gateway{config: filepath.Join(dir, "gateway.yaml"), log: &buffer{}, ended: make(chan struct{})}
	if err := os.WriteFile(g.config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	args, environ := append([]string{"--config=" + g.config}, loopback...), os.Environ()
	for _, flag := range flags {
		if strings.HasPrefix(flag, "WSC_") {
			environ = append(environ, flag)
		} else {
			args = append(args, flag)
		}
	}
	g.cmd = command(args...)
	g.cmd.Env = environ
	out, err := g.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	up := make(chan bool, 1)
	go func() {
		reader := bufio.NewReader(out)
		for {
			row, err := reader.ReadString('\n')
			_, _ = io.WriteString(g.log, row)
			var entry struct{ Msg, Listen, API, Ops string }
			if json.Unmarshal([]byte(row), &entry) == nil && entry.Msg == "gateway is up" {
				g.public, g.api, g.ops = entry.Listen, entry.API, entry.Ops
				up <- true
			}
			if err != nil {
				break
			}
		}
		_ = g.cmd.Wait() // exit looks at its state
		close(g.ended)
	}()
	select {
	case <-up:
		return g, nil
	case <-g.ended:
		return nil, fmt.Errorf("the gateway ended at once: %s", g.log)
	case <-time.After(patience):
		_ = g.cmd.Process.Kill()
		return nil, fmt.Errorf("the gateway does not say that it is up: %s", g.log)
	}
}

// kill ends the process, if it has not ended, and waits until all that it wrote was read.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.ended
}

// command is a gateway process that is not started yet.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(gatewayBinary, args...)
	dieWithTests(cmd)
	return cmd
}

// drained waits for the end of the process, which must be that of one that has drained.
func (g *gateway) drained(t *testing.T) {
	t.Helper()
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Fatalf("the gateway does not end: %s", g.log)
	}
	if got := g.cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("the gateway ended with status %d, want 0", got)
	}
}

func (g *gateway) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// rewrite replaces the settings file, as an editor does.
func (g *gateway) rewrite(t *testing.T, config string) { replaceFile(t, g.config, config) }

func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// file writes a file for this test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// gatewayOnce runs the gateway to its end and returns what it wrote and its status.
func gatewayOnce(t *testing.T, environ []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatewayBinary, args...)
	cmd.Env = append(os.Environ(), environ...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v, and it is still not so: %s", patience, what)
		}
	}
}

// redisServer is a redis-server process.
type redisServer struct {
	addr string
	port int
	dir  string
	cmd  *exec.Cmd
}

func (r *redisServer) url() string { return "redis://" + r.addr }

// startRedis runs a redis-server of this test alone.
func startRedis(t *testing.T) *redisServer {
	t.Helper()
	r, err := runRedis(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.kill() })
	return r
}

func runRedis(dir string) (*redisServer, error) {
	var err error
	for range 5 { // another process may take the port meanwhile
		r := &redisServer{dir: dir}
		if r.port, err = freePort(); err != nil {
			return nil, err
		}
		r.addr = fmt.Sprintf("127.0.0.1:%d", r.port)
		if err = r.start(); err == nil {
			return r, nil
		}
	}
	return nil, err
}

// start runs the server, empty, on its port.
func (r *redisServer) start() error {
	r.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(r.port), "--save", "", "--appendonly", "no", "--dir", r.dir)
	dieWithTests(r.cmd)
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if reply, err := r.do("INFO", "server"); err == nil && strings.Contains(reply, fmt.Sprintf("process_id:%d\r", r.cmd.Process.Pid)) {
			return nil
		}
	}
	r.kill()
	return errors.New("redis-server does not answer")
}

func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// stop has the process answer nothing until resume.
func (r *redisServer) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Signal(syscall.SIGCONT) })
}

func (r *redisServer) resume(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// do sends a command, as an operator would with redis-cli.
func (r *redisServer) do(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", append([]string{"-p", fmt.Sprint(r.port)}, args...)...).Output()
	return strings.TrimSpace(string(out)), err
}

func (r *redisServer) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.do(args...)
	if err != nil {
		t.Fatalf("redis-cli %s: %v", args, err)
	}
	return out
}

// freePort returns a port that nobody listens on, below those that Linux gives to outgoing connections: one of them could take it while
// the server that it is for is down.
func freePort() (port int, err error) {
	for range 100 {
		port = 10_240 + rand.IntN(32_768-10_240)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port, nil
		}
	}
	return 0, err
}
