package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// gatewayBinary builds cmd/gateway once for all tests.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "wscluster-gateway-")
	if err != nil {
		return "", err
	}
	binaryFolder = folder
	path := filepath.Join(folder, "gateway")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/gateway").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// binaryFolder is set once a test has had the binary built.
var binaryFolder string

func TestMain(m *testing.M) {
	status := m.Run()
	if binaryFolder != "" {
		_ = os.RemoveAll(binaryFolder)
	}
	os.Exit(status)
}

func command(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := gatewayBinary()
	if err != nil {
		t.Fatalf("build the gateway: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), environ...)
	return cmd
}

// process is a running gateway process.
type process struct {
	*exec.Cmd
	public, ops string
	output      *bytes.Buffer // read it after the end
	done        chan struct{}
}

// startProcess runs the gateway on free ports and waits until it says where it listens.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, nil, append([]string{"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--auth=trusted"}, args...)...), output: &bytes.Buffer{}, done: make(chan struct{})}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	lines := bufio.NewReader(stderr)
	for p.public == "" {
		line, err := lines.ReadString('\n')
		p.output.WriteString(line)
		var entry struct{ Msg, Listen, Ops string }
		if err != nil {
			t.Fatalf("the gateway ended at once: %s", p.output)
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "gateway is up" {
			p.public, p.ops = entry.Listen, entry.Ops
		}
	}
	go func() {
		_, _ = io.Copy(p.output, lines)
		_ = p.Wait() // wantExit looks at the process's state
		close(p.done)
	}()
	return p
}

func (p *process) wantExit(t *testing.T, status int) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
	if got := p.ProcessState.ExitCode(); got != status {
		t.Errorf("the process ended with status %d (%v), want %d: %s", got, p.ProcessState, status, p.output)
	}
}

func (p *process) dial(t *testing.T) *client {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+p.public+"/ws?user_id=alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, ws)
}

func TestSIGTERMDrainsAndExitsWithStatus0(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, "--drain-delay=200ms", "--drain-timeout=1s", "--drain-rate=100")
			c := p.dial(t)
			_ = p.Process.Signal(signal)
			c.nothing()
			c.wantReconnect("draining")
			c.nothing()
			c.wantClose(protocol.CloseRestart)
			p.wantExit(t, 0)
			if !strings.Contains(p.output.String(), `"msg":"drained"`) {
				t.Errorf("the log does not say that it drained: %s", p.output)
			}
		})
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	p := startProcess(t, "--drain-delay=1h", "--drain-timeout=1h")
	c := p.dial(t)
	_ = p.Process.Signal(syscall.SIGTERM)
	eventually(t, "the drain has begun", func() bool {
		return request(t, http.MethodGet, "http://"+p.ops+"/readyz", nil).status == http.StatusServiceUnavailable
	})
	c.nothing()
	select {
	case <-p.done:
		t.Fatal("one signal ended the process")
	default:
	}
	begin := time.Now()
	_ = p.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, 0)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the process ended %v after the second signal, want at once", took)
	}
}

func TestWrongSettingsEndTheStartWithOneLineAndStatus2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		environ []string
		args    []string
		file    string
		want    []string // in the line
	}{
		"a flag that does not exist":    {nil, []string{"--heartbeet=5s"}, "", []string{"heartbeet", "heartbeat"}},
		"a flag out of range":           {nil, []string{"--heartbeat=-1s"}, "", []string{"heartbeat"}},
		"an unknown word":               {nil, []string{"--auth=nobody"}, "", []string{"auth", "guest, trusted", "jwt"}},
		"a variable that is no number":  {[]string{"WSC_MAX_CONNECTIONS=many"}, nil, "", []string{"WSC_MAX_CONNECTIONS", "number"}},
		"an unknown key in the file":    {nil, []string{"--config=" + file}, "heartbeetSeconds: 5\n", []string{file + ":1", "heartbeetSeconds"}},
		"a wrong value in the file":     {nil, []string{"--config=" + file}, "auth:\n  type: nobody\n", []string{file + ":2", "auth.type"}},
		"a file that does not exist":    {nil, []string{"--config=/does/not/exist.yaml"}, "", []string{"/does/not/exist.yaml"}},
		"a backplane of another scheme": {nil, []string{"--backplane=kafka://x"}, "", []string{"backplane", "redis://"}},
		"TLS with only one file":        {nil, []string{"--tls-cert-file=" + file}, "", []string{"tls-key-file"}},
	} {
		for _, extra := range [][]string{nil, {"--check"}} {
			t.Run(strings.Join(append([]string{name}, extra...), " "), func(t *testing.T) {
				write(test.file)
				cmd := command(t, test.environ, append(test.args, extra...)...)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				if cmd.ProcessState.ExitCode() != 2 {
					t.Errorf("the status is %d (%v), want 2: %s", cmd.ProcessState.ExitCode(), err, &stderr)
				}
				line := stderr.String()
				if strings.Count(line, "\n") != 1 || stdout.Len() > 0 {
					t.Errorf("the process wrote %q and %q, want one line on stderr", &stdout, line)
				}
				for _, want := range test.want {
					if !strings.Contains(line, want) {
						t.Errorf("the line %q does not name %q", line, want)
					}
				}
			})
		}
	}
}

func TestCheckValidatesAndExits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("heartbeatSeconds: 5\nrooms:\n- match: \"chat:*\"\n  publish: anyone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, []string{"WSC_LOG_LEVEL=debug"}, "--config="+file, "--max-connections=5", "--check").CombinedOutput()
	if err != nil || string(out) != "the settings are valid\n" {
		t.Errorf("--check of valid settings: %q, %v", out, err)
	}
}

func TestAPortThatIsTakenEndsTheStartWithStatus1(t *testing.T) {
	p := startProcess(t)
	out, err := command(t, nil, "--listen="+p.public, "--ops-listen=127.0.0.1:0").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "listen") || !strings.Contains(string(out), p.public) {
		t.Errorf("a taken port: %v, %s", err, out)
	}
}

func TestFlagsWinOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("node: file\nheartbeatSeconds: 7\nlimits:\n  maxMessageBytes: 1111\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WSC_NODE", "environment")
	t.Setenv("WSC_MAX_MESSAGE_BYTES", "2222")
	p := startProcess(t, "--config="+file, "--node=flag")
	welcome := p.dial(t).welcome
	for field, want := range map[string]string{"node": "flag", "max_message_bytes": "2222", "heartbeat_ms": "7000"} {
		got := welcome[field]
		if number, ok := got.(json.Number); ok {
			got = number.String()
		}
		if got != want {
			t.Errorf("%s is %v, want %s", field, got, want)
		}
	}
}

func TestTheLogHoldsNoTokenAndNoPayload(t *testing.T) {
	p := startProcess(t, "--log-level=debug", "--drain-delay=0s", "--drain-timeout=1s")
	dialer := websocket.Dialer{Subprotocols: []string{"bearer.TOKEN-IN-PROTOCOL", protocol.Subprotocol}}
	ws, _, err := dialer.DialContext(t.Context(), "ws://"+p.public+"/ws?user_id=alice&token=TOKEN-IN-QUERY", http.Header{"Authorization": {"Bearer TOKEN-IN-HEADER"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, ws)
	c.join("r")
	c.send(`{"type":"publish","room_id":"r","data":"THE-PAYLOAD"}`)
	c.next()
	c.send(`{"type":"publish","room_id":"x","data":"THE-PAYLOAD"}`)
	c.next()
	c.send(`THE-PAYLOAD`)
	c.next()
	_ = p.Process.Signal(syscall.SIGTERM)
	p.wantExit(t, 0)
	for _, secret := range []string{"TOKEN-IN", "THE-PAYLOAD"} {
		if strings.Contains(p.output.String(), secret) {
			t.Errorf("the log holds %s: %s", secret, p.output)
		}
	}
	if !strings.Contains(p.output.String(), `"user_id":"alice"`) || !strings.Contains(p.output.String(), `"connection_id":"`) {
		t.Errorf("the log's lines about connections carry no user_id and connection_id: %s", p.output)
	}
}
