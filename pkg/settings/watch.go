package settings

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The rhythm of watching. A change is looked at when the folder has been quiet for watchQuiet, but no later than watchLatest after
// it began, since other files may change there all the time. It is taken when two looks, watchQuiet apart, find the same content:
// a file that is written in place must not be read half-written. Every watchPoll the files are looked at anyhow: network file systems
// tell no changes.
const (
	watchQuiet  = 100 * time.Millisecond
	watchLatest = time.Second
	watchPoll   = 10 * time.Second
)

// Watch watches the settings file and the files with keys, secrets and certificates that the settings name, and tells notify what each change
// came to, one call after the other on Watch's own goroutine. It blocks until the context ends. The arguments are those of
// FromCommandLine, and running is what that returned. Replacing a file by a rename, and the swap of links by which Kubernetes
// updates mounted ConfigMaps and Secrets, are noticed like a write.
//
// Only rooms, inbox, directMessages, limits, allowed origins and the content of files take effect. Content that is wrong changes nothing
// and is told as Reload.Err, once. A settings file that says nothing is wrong too: more likely it was cut off than meant to be.
func Watch(ctx context.Context, args, environ []string, running Settings, notify func(Reload)) {
	line, err := readCommandLine(args, environ)
	if err != nil {
		// FromCommandLine has already refused these; there is nothing to watch.
		notify(Reload{Settings: running, Err: err})
		return
	}
	w := &watch{line: line, running: running, before: running, notify: notify, quiet: watchQuiet, poll: watchPoll}
	w.run(ctx)
}

// watch is the state of one Watch; one goroutine owns it.
type watch struct {
	line   *commandLine
	notify func(Reload)
	// quiet and poll are watchQuiet and watchPoll outside tests.
	quiet, poll time.Duration
	// running is in force; before is what the files said last, also where that needs a restart.
	running, before Settings
	// seen holds a fingerprint a file, as they were loaded or refused last; loaded is false until that was done once.
	seen   map[string]string
	loaded bool
	// taken is the fingerprint of the settings file in force.
	taken string
	// settling is what the files were at settlingSince, when they were not as seen; they have to stay so for a while.
	settling      map[string]string
	settlingSince time.Time
	// watcher is nil where the system cannot tell changes; then only polling finds them.
	watcher *fsnotify.Watcher
	// ready is called once when changes are noticed from now on; nil outside tests.
	ready func()
}

func (w *watch) run(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.notify(Reload{Settings: w.running, Err: fmt.Errorf("changes of files are only looked for every %s: %w", w.poll, err)})
		watcher = &fsnotify.Watcher{}
	} else {
		w.watcher = watcher
		defer watcher.Close()
	}
	w.follow()
	// What changed between the start of the process and now is a change like any other; what could not be seen then is not.
	w.seen = w.fingerprints()
	w.taken = w.seen["config"]
	quiet := time.NewTimer(w.quiet)
	if w.look() {
		quiet.Stop()
	}
	if w.ready != nil {
		w.ready()
	}

	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	var began time.Time // zero: no change is waiting
	for {
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
			if began.IsZero() {
				began = time.Now()
			}
			quiet.Reset(min(w.quiet, max(0, watchLatest-time.Since(began))))
		case err := <-watcher.Errors:
			// The queue of events ran over or a folder went away: look at everything.
			if err != nil {
				quiet.Reset(w.quiet)
			}
		case <-quiet.C:
			began = time.Time{}
			if !w.look() {
				quiet.Reset(w.quiet)
			}
			w.follow()
		case <-poll.C:
			if !w.look() {
				quiet.Reset(w.quiet)
			}
			w.follow()
		}
	}
}

// files returns the path of every watched file by its key.
func (w *watch) files() map[string]string {
	files := map[string]string{}
	add := func(key, path string) {
		if path != "" {
			files[key] = path
		}
	}
	add("config", w.line.config)
	for _, o := range options {
		if o.kind == "file" {
			add(o.path, o.bind(&w.running).String())
		}
	}
	return files
}

// fingerprints hashes every file. What cannot be read has its error for a fingerprint, so that it coming back is a change.
func (w *watch) fingerprints() map[string]string {
	prints := map[string]string{}
	for key, path := range w.files() {
		data, err := readSmallFile(path)
		if err != nil {
			prints[key] = "error: " + err.Error()
			continue
		}
		sum := sha256.Sum256(data)
		prints[key] = string(sum[:])
	}
	return prints
}

// look loads the settings again if a file is not what it was and has come to rest. It returns false if it has to look again: a
// file seems to be written at this moment. The first look always loads.
func (w *watch) look() (settled bool) {
	prints := w.fingerprints()
	switch {
	case w.loaded && maps.Equal(prints, w.seen):
		w.settling = nil
		return true
	case !maps.Equal(prints, w.settling):
		w.settling, w.settlingSince = prints, time.Now()
		return false
	case time.Since(w.settlingSince) < w.quiet:
		return false
	}
	loaded, err := w.load(prints["config"] == w.taken)
	if !maps.Equal(w.fingerprints(), prints) {
		w.settling = nil // what was loaded is neither this nor that
		return false
	}
	old := w.seen
	w.seen, w.loaded, w.settling = prints, true, nil
	if err != nil {
		w.notify(Reload{Settings: w.running, Err: err})
		return true
	}
	w.taken = prints["config"]
	r := reload(w.running, w.before, loaded)
	for _, key := range slices.Sorted(maps.Keys(prints)) {
		if key != "config" && prints[key] != old[key] {
			r.Files = append(r.Files, key)
		}
	}
	w.running, w.before = r.Settings, loaded
	if !r.empty() {
		w.notify(r)
	}
	return true
}

// load reads flags, environment and file again; same says that the file is the one in force. To become empty is what happens to a
// file, not what somebody asks of a running gateway.
func (w *watch) load(same bool) (Settings, error) {
	if path := w.line.config; path != "" && !same {
		if data, err := readSmallFile(path); err == nil {
			if file, err := parseYAML(path, data); err == nil && file.root == nil {
				return Settings{}, fmt.Errorf("%s: is empty, and an empty file changes nothing while the gateway runs: write {} if every setting shall have its default", path)
			}
		}
	}
	return w.line.load()
}

// follow watches the folders of all files and of all links on the way to them, and no others. A folder is watched rather than a
// file, because a file that is replaced by a rename takes its watch along.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	wanted := map[string]bool{}
	for _, path := range w.files() {
		for _, folder := range foldersOf(path) {
			wanted[folder] = true
		}
	}
	for _, folder := range w.watcher.WatchList() {
		if !wanted[folder] {
			_ = w.watcher.Remove(folder) // it may be gone already
		}
	}
	for folder := range wanted {
		_ = w.watcher.Add(folder) // a folder that is not there yet is found by polling
	}
}

// foldersOf returns the folders in which a change can make path another file: its own, and that of each link on the way.
func foldersOf(path string) []string {
	var folders []string
	for range 40 { // as many links as Linux follows
		absolute, err := filepath.Abs(path)
		if err != nil {
			return folders
		}
		folder := filepath.Dir(absolute)
		folders = append(folders, folder)
		if real, err := filepath.EvalSymlinks(folder); err == nil && real != folder {
			folders = append(folders, real)
		}
		target, err := os.Readlink(absolute)
		if err != nil {
			return folders
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(folder, target)
		}
		path = target
	}
	return folders
}
