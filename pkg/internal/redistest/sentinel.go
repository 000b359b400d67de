package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/internal/testport"
)

// Sentinel is one running redis-sentinel process.
type Sentinel struct {
	// Addr is its host:port.
	Addr string
}

// StartSentinel runs a sentinel that watches primary under the name master, and takes it for down after half a second when
// quorum sentinels do. It waits until the sentinel answers; the process ends with the test.
func StartSentinel(t testing.TB, master string, primary *Server, quorum int) *Sentinel {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf")
	for attempt := 0; ; attempt++ {
		port := testport.Reserve(t)
		config := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor %s 127.0.0.1 %d %d\n"+
			"sentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 4000\n", port, dir, master, primary.Port, quorum, master, master)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("redis-server", file, "--sentinel")
		log := &tail{}
		cmd.Stdout, cmd.Stderr = log, log
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatalf("start redis-server --sentinel: %v", err)
		}
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(done)
		}()
		s := &Sentinel{Addr: fmt.Sprintf("127.0.0.1:%d", port)}
		if awaitAnswer(s.Addr, done) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // it may have ended by itself
				<-done
			})
			return s
		}
		_ = cmd.Process.Kill()
		<-done
		if attempt == 4 {
			t.Fatalf("redis-server --sentinel does not answer: %s", log)
		}
	}
}

func awaitAnswer(addr string, ended <-chan struct{}) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		if answers(addr, false) {
			return true
		}
	}
	return false
}
