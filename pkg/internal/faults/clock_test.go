package faults

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Go program does not ask libc for the time, so its clock is made to jump by building it with another time.Now: the same
// source of the gateway, with a wall clock that is off by the seconds in the file CLOCK_FILE. The monotonic clock stays, as it does
// when a machine's clock is set.

// timeNow is the line of Go's time.Now that is added to, and timeJumps what is added.
const (
	timeNow   = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	timeJumps = "\tsec, nsec, mono := runtimeNow()\n\tif WallOffset != nil {\n\t\tsec += *WallOffset\n\t}\n\tif mono == 0 {"
	timeVar   = "\n// WallOffset is how far the wall clock is off, in seconds.\nvar WallOffset *int64\n"
	clockMain = `package main

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	file, err := os.Open(os.Getenv("CLOCK_FILE"))
	if err != nil {
		panic(err)
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	time.WallOffset = (*int64)(unsafe.Pointer(&memory[0]))
}
`
)

// jumpingGateway builds the gateway whose clock jumps, once, into a folder.
func jumpingGateway(folder string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		output, err := exec.Command("go", "list", "-f", "{{.Module.Dir}}", "github.com/wscluster/wscluster/cmd/gateway").Output()
		if err != nil {
			return "", fmt.Errorf("go list: %w", err)
		}
		module := strings.TrimSpace(string(output))
		now := filepath.Join(runtime.GOROOT(), "src", "time", "time.go") //nolint:staticcheck // the toolchain of the tests is the one that builds
		source, err := os.ReadFile(now)
		if err != nil {
			return "", err
		}
		if strings.Count(string(source), timeNow) != 1 {
			return "", fmt.Errorf("%s has another time.Now than this test knows: look at timeNow", now)
		}
		replaced, added := filepath.Join(folder, "time.go"), filepath.Join(folder, "clock.go")
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{now: replaced, filepath.Join(module, "cmd", "gateway", "clock.go"): added}})
		if err != nil {
			return "", err
		}
		for path, content := range map[string]string{
			replaced: strings.Replace(string(source), timeNow, timeJumps, 1) + timeVar, added: clockMain, filepath.Join(folder, "overlay.json"): string(overlay),
		} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				return "", err
			}
		}
		return build(folder, "jumping-gateway", "-overlay", filepath.Join(folder, "overlay.json"))
	})
}

// wallClock is that of a gateway.
type wallClock struct{ path string }

func newWallClock(t testing.TB, folder string, gateway int) wallClock {
	t.Helper()
	c := wallClock{filepath.Join(folder, fmt.Sprintf("gateway-%d.clock", gateway))}
	c.Jump(t, 0)
	return c
}

// Jump sets how far the clock is off, to the second. It writes in place: the gateway looks at the same pages.
func (c wallClock) Jump(t testing.TB, by time.Duration) {
	t.Helper()
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(by.Seconds())))); err != nil {
		t.Fatal(err)
	}
}
