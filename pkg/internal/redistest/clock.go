package redistest

import (
	_ "embed" // the clock
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock is the wall clock of a server, and of those that are started again in its place. Their monotonic clock is the machine's.
type Clock struct{ path string }

// StartWithClock is Start with a clock that can jump. It needs gcc, as the race detector does; the test is skipped on other
// systems than Linux, which load no library before the program's.
func StartWithClock(t testing.TB, args ...string) (*Server, *Clock) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the clock of redis-server can only be made to jump on Linux")
	}
	folder := t.TempDir()
	source, library := filepath.Join(folder, "clock.c"), filepath.Join(folder, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("build the clock for redis-server: %v\n%s", err, output)
	}
	c := &Clock{path: filepath.Join(folder, "offset")}
	c.Jump(t, 0)
	return start(t, []string{"LD_PRELOAD=" + library, "CLOCK_FILE=" + c.path}, args), c
}

// Jump sets how far the clock is from the machine's, to the second.
func (c *Clock) Jump(t testing.TB, by time.Duration) {
	t.Helper()
	file, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatalf("set the clock of redis-server: %v", err)
	}
	defer file.Close()
	// In place: the server looks at the same pages.
	if _, err := file.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(by.Seconds())))); err != nil {
		t.Fatalf("set the clock of redis-server: %v", err)
	}
}
