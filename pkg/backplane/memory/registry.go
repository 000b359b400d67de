package memory

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// announcement is what this process tells of itself; nil: nothing yet.
type announcement struct {
	record []byte
	at     time.Time
}

// Announce implements backplane.Registry: this process is the only one.
func (b *Backplane) Announce(ctx context.Context, record []byte) (nodes int, err error) {
	if !b.enter() {
		return 0, errClosed
	}
	defer b.leave()
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	b.announced.Store(&announcement{bytes.Clone(record), time.Now()})
	return 1, nil
}

// Nodes implements backplane.Registry.
func (b *Backplane) Nodes(ctx context.Context) ([]backplane.Announcement, error) {
	if !b.enter() {
		return nil, errClosed
	}
	defer b.leave()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	a := b.announced.Load()
	if a == nil {
		return nil, nil
	}
	return []backplane.Announcement{{Own: true, Age: time.Since(a.at), Record: bytes.Clone(a.record)}}, nil
}
