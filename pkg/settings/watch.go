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

// The rhythm of watching. A change is taken when the folder has been quiet for watchQuiet, since editors and copies write in
// several steps, but no later than watchLatest after it began. Every watchPoll the files are looked at anyhow: network file systems tell no changes.
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
// and is told as Reload.Err, once.
func Watch(ctx context.Context, args, environ []string, running Settings, notify func(Reload)) {
	line, err := readCommandLine(args, environ)
	if err != nil {
		// FromCommandLine has already refused these; there is nothing to watch.
		notify(Reload{Settings: running, Err: err})
		return
	}
	w := &watch{line: line, running: running, before: running, notify: notify, poll: watchPoll}
	w.run(ctx)
}

// watch is the state of one Watch; one goroutine owns it.
type watch struct {
	line   *commandLine
	notify func(Reload)
	poll   time.Duration
	// running is in force; before is what the files said last, also where that needs a restart.
	running, before Settings
	// seen holds a fingerprint a file.
	seen map[string]string
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
	w.look(true)
	if w.ready != nil {
		w.ready()
	}

	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	quiet := time.NewTimer(0)
	<-quiet.C
	var began time.Time // zero: no change is waiting
	for {
		select {
		case <-ctx.Done():
			return
		case <-watcher.Events:
			if began.IsZero() {
				began = time.Now()
			}
			quiet.Reset(min(watchQuiet, max(0, watchLatest-time.Since(began))))
		case err := <-watcher.Errors:
			// The queue of events ran over or a folder went away: look at everything.
			if err != nil {
				quiet.Reset(watchQuiet)
			}
		case <-quiet.C:
			began = time.Time{}
			w.look(false)
			w.follow()
		case <-poll.C:
			w.look(false)
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

// look loads the settings again if a file is not what it was. The first look always loads.
func (w *watch) look(first bool) {
	prints := w.fingerprints()
	if !first && maps.Equal(prints, w.seen) {
		return
	}
	old := w.seen
	w.seen = prints
	loaded, err := w.line.load()
	if err != nil {
		w.notify(Reload{Settings: w.running, Err: err})
		return
	}
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
