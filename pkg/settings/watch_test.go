package settings

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// watching is a running watch over a real folder. It never polls unless the test says so, so that what is noticed was told by the system.
type watching struct {
	t       *testing.T
	folder  string
	quiet   time.Duration
	reloads chan Reload
}

func (w *watching) path(name string) string { return filepath.Join(w.folder, name) }

func (w *watching) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// replace writes beside the file and renames over it, as careful programs do.
func (w *watching) replace(name, content string) {
	w.t.Helper()
	w.write(name+".next", content)
	if err := os.Rename(w.path(name+".next"), w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watching) start(poll time.Duration, args ...string) {
	w.t.Helper()
	running, _, err := FromCommandLine(args, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := readCommandLine(args, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan struct{}, 1)
	inner := &watch{line: line, running: running, before: running, quiet: w.quiet, poll: poll, notify: func(r Reload) { w.reloads <- r }, ready: func() { ready <- struct{}{} }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); inner.run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			w.t.Error("the watch goes on after its context ended")
		}
	})
	<-ready
}

func newWatching(t *testing.T) *watching {
	return &watching{t: t, folder: t.TempDir(), quiet: watchQuiet, reloads: make(chan Reload, 100)}
}

const never = 24 * time.Hour

var equateOrder = cmpopts.SortSlices(func(a, b string) bool { return a < b })

// next waits for the next reload.
func (w *watching) next() Reload {
	w.t.Helper()
	select {
	case r := <-w.reloads:
		return r
	case <-time.After(10 * time.Second):
		w.t.Fatal("the change was not noticed within 10 seconds")
	}
	return Reload{}
}

// silent fails the test if a reload comes within the time in which a change would have been told.
func (w *watching) silent() {
	w.t.Helper()
	select {
	case r := <-w.reloads:
		w.t.Errorf("nothing of consequence changed, but it was told: %+v", r)
	case <-time.After(3 * watchQuiet):
	}
}

func TestAChangedFileTakesEffectHoweverItIsChanged(t *testing.T) {
	for name, change := range map[string]func(w *watching, content string){
		"written in place":   func(w *watching, content string) { w.write("gateway.yaml", content) },
		"replaced by rename": func(w *watching, content string) { w.replace("gateway.yaml", content) },
		"removed and made anew": func(w *watching, content string) {
			if err := os.Remove(w.path("gateway.yaml")); err != nil {
				w.t.Fatal(err)
			}
			w.write("gateway.yaml", content)
		},
		"written in several steps": func(w *watching, content string) {
			file, err := os.Create(w.path("gateway.yaml"))
			if err != nil {
				w.t.Fatal(err)
			}
			defer file.Close()
			for _, c := range content {
				fmt.Fprintf(file, "%c", c)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatching(t)
			w.write("gateway.yaml", "limits: {maxConnections: 10}\n")
			w.start(never, "--config", w.path("gateway.yaml"))
			for round, limit := range []int{20, 30} { // twice: a watch must outlive the file that it began with
				change(w, fmt.Sprintf("limits: {maxConnections: %d}\n", limit))
				r := w.next()
				for r.Settings.Limits.MaxConnections != limit { // a slow machine may show the file between two steps
					r = w.next()
				}
				if r.Err != nil || !cmp.Equal(r.Changed, []string{"limits.maxConnections"}) {
					t.Fatalf("change %d: got %d connections, changed %v, error %v", round+1, r.Settings.Limits.MaxConnections, r.Changed, r.Err)
				}
			}
			w.silent()
		})
	}
}

// mountConfigMap lays a folder out as the kubelet does: files are links into ..data, which is a link to a folder with a time stamp.
func (w *watching) mountConfigMap(version int, files map[string]string) {
	w.t.Helper()
	stamp := fmt.Sprintf("..2026_11_23_%d", version)
	if err := os.Mkdir(w.path(stamp), 0o755); err != nil {
		w.t.Fatal(err)
	}
	for name, content := range files {
		w.write(filepath.Join(stamp, name), content)
		_ = os.Symlink(filepath.Join("..data", name), w.path(name))
	}
	old, _ := os.Readlink(w.path("..data"))
	if err := os.Symlink(stamp, w.path("..data_tmp")); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.path("..data_tmp"), w.path("..data")); err != nil {
		w.t.Fatal(err)
	}
	if old != "" {
		if err := os.RemoveAll(w.path(old)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestAMountedConfigMapAndSecretAreFollowed(t *testing.T) {
	w := newWatching(t)
	w.mountConfigMap(1, map[string]string{"gateway.yaml": "rooms: [{match: a}]\n", "keys": "one\n"})
	w.start(never, "--config", w.path("gateway.yaml"), "--api-key-file", w.path("keys"))
	for version := 2; version <= 4; version++ {
		w.mountConfigMap(version, map[string]string{"gateway.yaml": fmt.Sprintf("rooms: [{match: v%d}]\n", version), "keys": fmt.Sprintf("one\nkey%d\n", version)})
		r := w.next()
		if r.Err != nil || len(r.Settings.Rooms) != 1 || r.Settings.Rooms[0].Match != fmt.Sprintf("v%d", version) {
			t.Fatalf("version %d: got rooms %v, error %v", version, r.Settings.Rooms, r.Err)
		}
		if diff := cmp.Diff([]string{"apiKeyFile"}, r.Files); diff != "" {
			t.Errorf("version %d: files with other content:\n%s", version, diff)
		}
	}
}

func TestALinkThatIsPointedElsewhereIsFollowed(t *testing.T) {
	w := newWatching(t)
	elsewhere := t.TempDir()
	for name, content := range map[string]string{"a.yaml": "limits: {messageBurst: 1}\n", "b.yaml": "limits: {messageBurst: 2}\n"} {
		if err := os.WriteFile(filepath.Join(elsewhere, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(elsewhere, "a.yaml"), w.path("gateway.yaml")); err != nil {
		t.Fatal(err)
	}
	w.start(never, "--config", w.path("gateway.yaml"))
	if err := os.WriteFile(filepath.Join(elsewhere, "a.yaml"), []byte("limits: {messageBurst: 11}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.next().Settings.Limits.MessageBurst; got != 11 {
		t.Errorf("the file behind the link was changed: got %d, want 11", got)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "b.yaml"), w.path("next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.path("next"), w.path("gateway.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := w.next().Settings.Limits.MessageBurst; got != 2 {
		t.Errorf("the link was pointed to another file: got %d, want 2", got)
	}
}

func TestWrongContentKeepsWhatIsInForceAndIsToldOnce(t *testing.T) {
	w := newWatching(t)
	w.write("gateway.yaml", "limits: {maxConnections: 10}\n")
	w.start(50*time.Millisecond, "--config", w.path("gateway.yaml")) // polls too, which must not tell it again
	w.replace("gateway.yaml", "limits: {maxConections: 20}\n")
	r := w.next()
	want := w.path("gateway.yaml") + ":1: limits.maxConections: is not a known key; did you mean maxConnections?"
	if r.Err == nil || r.Err.Error() != want || r.Settings.Limits.MaxConnections != 10 {
		t.Errorf("got %d connections and error %v, want 10 and %s", r.Settings.Limits.MaxConnections, r.Err, want)
	}
	w.silent()
	w.replace("gateway.yaml", "limits: {maxConnections: 20}\n")
	if r := w.next(); r.Err != nil || r.Settings.Limits.MaxConnections != 20 {
		t.Errorf("after it was mended: got %d connections, error %v", r.Settings.Limits.MaxConnections, r.Err)
	}
}

func TestAFileThatWasEmptiedChangesNothing(t *testing.T) {
	for name, content := range map[string]string{
		"of no bytes": "", "of a line's end": "\n", "of which only a comment is left": "# the gateway's settings\n", "of which only the first line is left": "---\n",
		"of a key that lost its value at the top": "null\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatching(t)
			w.write("gateway.yaml", "limits: {maxConnections: 10}\n")
			w.start(never, "--config", w.path("gateway.yaml"))
			w.write("gateway.yaml", content)
			r := w.next()
			want := w.path("gateway.yaml") + ": is empty, and an empty file changes nothing while the gateway runs: write {} if every setting shall have its default"
			if r.Err == nil || r.Err.Error() != want || r.Settings.Limits.MaxConnections != 10 {
				t.Errorf("got %d connections and error %v, want 10 and %s", r.Settings.Limits.MaxConnections, r.Err, want)
			}
			w.silent()
			w.write("gateway.yaml", "{}\n")
			if r := w.next(); r.Err != nil || r.Settings.Limits.MaxConnections != Default().Limits.MaxConnections {
				t.Errorf("after {} was written: got %d connections, error %v, want the default and none", r.Settings.Limits.MaxConnections, r.Err)
			}
		})
	}
}

func TestAFileThatWasEmptyFromTheStartHoldsUpNoOtherFile(t *testing.T) {
	w := newWatching(t)
	w.write("gateway.yaml", "# nothing is set here\n")
	w.write("keys", "one\n")
	w.start(never, "--config", w.path("gateway.yaml"), "--api-key-file", w.path("keys"))
	w.replace("keys", "two\n")
	if r := w.next(); r.Err != nil || !slices.Equal(r.Files, []string{"apiKeyFile"}) {
		t.Errorf("got %v and error %v, want that the keys have changed", r.Files, r.Err)
	}
}

// A writer that begins with nothing and adds line after line makes a valid file of other settings at every step.
func TestAFileThatIsBeingWrittenIsNotReadBeforeItIsDone(t *testing.T) {
	w := newWatching(t)
	w.quiet = 2 * time.Second // so that a busy machine does not look like a writer that has finished
	w.write("gateway.yaml", "limits: {maxConnections: 10}\nrooms: [{match: old}]\n")
	w.start(10*time.Millisecond, "--config", w.path("gateway.yaml")) // polls all the time, so that every step is looked at
	file, err := os.Create(w.path("gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range 100 {
		fmt.Fprintf(file, "# step %d\n", i)
		if i == 50 {
			fmt.Fprintln(file, "limits: {maxConnections: 20}")
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(file, "rooms: [{match: new}]")
	r := w.next()
	if r.Err != nil || r.Settings.Limits.MaxConnections != 20 || len(r.Settings.Rooms) != 1 || r.Settings.Rooms[0].Match != "new" {
		t.Errorf("the first that was told is %d connections, rooms %+v, error %v; want the whole file", r.Settings.Limits.MaxConnections, r.Settings.Rooms, r.Err)
	}
}

func TestAFileThatGoesAwayChangesNothing(t *testing.T) {
	w := newWatching(t)
	w.write("gateway.yaml", "limits: {maxConnections: 10}\n")
	w.start(never, "--config", w.path("gateway.yaml"))
	if err := os.Remove(w.path("gateway.yaml")); err != nil {
		t.Fatal(err)
	}
	if r := w.next(); r.Err == nil || r.Settings.Limits.MaxConnections != 10 {
		t.Errorf("got %d connections, error %v; want 10 and an error", r.Settings.Limits.MaxConnections, r.Err)
	}
}

func TestAFolderThatIsReplacedIsFoundByPolling(t *testing.T) {
	w := newWatching(t)
	if err := os.Mkdir(w.path("conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("conf/gateway.yaml", "limits: {maxConnections: 10}\n")
	w.start(50*time.Millisecond, "--config", w.path("conf/gateway.yaml"))
	if err := os.RemoveAll(w.path("conf")); err != nil {
		t.Fatal(err)
	}
	if r := w.next(); r.Err == nil {
		t.Errorf("got %+v, want an error while the folder is away", r)
	}
	if err := os.Mkdir(w.path("conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.replace("conf/gateway.yaml", "limits: {maxConnections: 20}\n")
	if r := w.next(); r.Err != nil || r.Settings.Limits.MaxConnections != 20 {
		t.Errorf("got %d connections, error %v", r.Settings.Limits.MaxConnections, r.Err)
	}
}

func TestWhatNeedsARestartIsToldOnceAndDoesNotTakeEffect(t *testing.T) {
	w := newWatching(t)
	w.write("gateway.yaml", "heartbeatSeconds: 10\n")
	w.start(never, "--config", w.path("gateway.yaml"), "--drain-rate=7")
	w.replace("gateway.yaml", "heartbeatSeconds: 20\ndrainRate: 8\nlisten: ':1'\nallowedOrigins: ['*']\ndirectMessages: {publish: none}\ninbox: {}\nrooms: [{match: a}]\n")
	r := w.next()
	if diff := cmp.Diff([]string{"listen", "heartbeatSeconds"}, r.NeedsRestart); diff != "" {
		t.Errorf("needs a restart (drainRate does not: its flag wins):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"allowedOrigins", "rooms", "directMessages", "inbox"}, r.Changed); diff != "" {
		t.Errorf("took effect:\n%s", diff)
	}
	if r.Settings.Heartbeat != 10*time.Second || r.Settings.Listen != ":8080" {
		t.Errorf("heartbeat %s and listen %s should be as at the start", r.Settings.Heartbeat, r.Settings.Listen)
	}
	if len(r.Settings.AllowedOrigins) != 1 || r.Settings.Inbox == nil || len(r.Settings.Rooms) != 1 || r.Settings.DirectMessages.Publish != AccessNone {
		t.Errorf("did not take effect: %+v", r.Settings)
	}
	w.replace("gateway.yaml", "heartbeatSeconds: 20\ndrainRate: 8\nlisten: ':1'\nlimits: {maxConnections: 3}\n")
	r = w.next()
	if diff := cmp.Diff([]string{"limits.maxConnections", "allowedOrigins", "rooms", "directMessages", "inbox"}, r.Changed, equateOrder); diff != "" || len(r.NeedsRestart) > 0 {
		t.Errorf("needs a restart: %v; took effect:\n%s", r.NeedsRestart, diff)
	}
	w.replace("gateway.yaml", "# only a comment more\nheartbeatSeconds: 20\ndrainRate: 8\nlisten: ':1'\nlimits: {maxConnections: 3}\n")
	w.silent()
}

func TestFilesThatAreNamedByFlagsAreWatchedWithoutASettingsFile(t *testing.T) {
	w := newWatching(t)
	w.write("keys", "one\n")
	w.write("token", "ops\n")
	w.start(never, "--api-key-file", w.path("keys"), "--ops-token-file", w.path("token"))
	w.replace("token", "ops2\n")
	if diff := cmp.Diff([]string{"opsTokenFile"}, w.next().Files); diff != "" {
		t.Error(diff)
	}
	w.replace("keys", "# no key any more\n")
	if r := w.next(); r.Err == nil || r.Err.Error() != "--api-key-file: "+w.path("keys")+" holds no key; write one a line" {
		t.Errorf("got %v", r.Err)
	}
	w.replace("keys", "two\n")
	if diff := cmp.Diff([]string{"apiKeyFile"}, w.next().Files); diff != "" {
		t.Error(diff)
	}
}
