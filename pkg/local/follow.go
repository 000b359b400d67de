package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"
)

// followInterval is how often the file is looked at. Asking is simpler than being told: editors replace files, and some file
// systems tell nothing.
const followInterval = 250 * time.Millisecond

var errVanished = errors.New("the file is gone")

// follow tells the loop of every change of the file until over. A file that is away for a moment, as when an editor
// replaces it, is no change.
func (r *runner) follow(ctx context.Context, over <-chan struct{}) {
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	last, _ := os.Stat(r.options.File)
	missing := 0
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
		}
		now, err := os.Stat(r.options.File)
		if errors.Is(err, fs.ErrNotExist) {
			if missing++; missing == 8 {
				r.post(func() { r.edited(ctx, nil, errVanished) })
			}
			continue
		}
		if err != nil || (missing == 0 && sameFile(last, now)) {
			continue
		}
		last, missing = now, 0
		wanted, err := load(r.options.File, r.options.Secrets) //nolint:contextcheck // as in Run
		r.post(func() { r.edited(ctx, wanted, err) })
	}
}

func sameFile(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
