package memory

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

const (
	// unusedLife is how long a log that was begun by reading, and never appended to, keeps its epoch after the last read. It is
	// long beside the time in which a hub looks at each of its rooms again, so that an epoch does not change under members.
	unusedLife = time.Hour
	// sweepPause is the time between two looks for logs and idempotency keys that have expired. What has expired is not seen
	// any more in any case; the sweep gives its memory back.
	sweepPause = 5 * time.Second
	// epochLength in characters of 5 random bits makes 80 bits: no two lives of a log meet in one epoch.
	epochLength = 16
)

// log is one life of a target's log. Its shard's mutex guards it.
type log struct {
	epoch string
	// newest is the last offset given out; messages are the last ones up to it, oldest first.
	newest   int64
	messages []backplane.Logged
	bytes    int
	expires  time.Time
}

// life returns the target's log; a new one where there is none, or where it has expired.
func (s *shard) life(target backplane.Target, now time.Time) *log {
	l := s.logs[target]
	if l == nil || !now.Before(l.expires) {
		if s.logs == nil {
			s.logs = make(map[backplane.Target]*log)
		}
		l = &log{epoch: rand.Text()[:epochLength]}
		s.logs[target] = l
	}
	return l
}

// append adds a message to the log, trims the log, and returns the message's place. The newest message stays however large it
// is: a subscriber that missed it must find it.
func (l *log) append(m *backplane.Message, now time.Time) backplane.Receipt {
	l.newest++
	l.messages = append(l.messages, backplane.Logged{Offset: l.newest, Exclude: m.Exclude, Body: bytes.Clone(m.Body)})
	l.bytes += len(m.Body)
	l.expires = now.Add(m.Keep.TTL)
	for len(l.messages) > 1 && (len(l.messages) > m.Keep.Size || m.Keep.MaxBytes > 0 && l.bytes > m.Keep.MaxBytes) {
		l.bytes -= len(l.messages[0].Body)
		l.messages[0] = backplane.Logged{} // its memory must not wait for the slice to grow
		l.messages = l.messages[1:]
	}
	return backplane.Receipt{Epoch: l.epoch, Offset: l.newest}
}

// read returns what the cursor asks for. Bodies are the log's own, which never change.
func (l *log) read(from backplane.Cursor) backplane.Page {
	oldest := l.newest - int64(len(l.messages)) + 1
	page := backplane.Page{Epoch: l.epoch, Oldest: oldest, Newest: l.newest}
	limit := int64(max(0, from.Limit))
	if !from.Reverse {
		start := min(max(oldest, from.Since+1), l.newest+1)
		end := min(start+limit, l.newest+1)
		page.Messages = append(page.Messages, l.messages[start-oldest:end-oldest]...)
		return page
	}
	end := l.newest + 1 // exclusive
	if from.Since > 0 {
		end = max(oldest, min(end, from.Since))
	}
	for offset := end - 1; offset >= max(oldest, end-limit); offset-- {
		page.Messages = append(page.Messages, l.messages[offset-oldest])
	}
	return page
}

// ReadLog implements backplane.Log. It takes no round trip; newest come first where the cursor asks for reverse.
func (b *Backplane) ReadLog(ctx context.Context, target backplane.Target, from backplane.Cursor) (backplane.Page, error) {
	if !b.enter() {
		return backplane.Page{}, errClosed
	}
	defer b.leave()
	if ctx.Err() != nil {
		return backplane.Page{}, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	b.startSweeping()
	now := time.Now()
	s := b.shard(target)
	s.mu.Lock()
	l := s.life(target, now)
	if l.newest == 0 {
		l.expires = now.Add(unusedLife)
	}
	page := l.read(from)
	s.mu.Unlock()
	for i := range page.Messages {
		page.Messages[i].Body = bytes.Clone(page.Messages[i].Body) // the page is the caller's
	}
	return page, nil
}

// record appends a publication to its log and remembers its idempotency key, as far as it asks for either. It returns the
// message as it is delivered and how its publication ends. The caller has the lock of s, the shard of the message's target.
func (b *Backplane) record(s *shard, m *backplane.Message) (*backplane.Message, outcome) {
	if m.Keep == nil && m.IdempotencyKey == "" {
		return withoutPosition(m), outcome{}
	}
	b.startSweeping()
	now := time.Now()
	placed, end := withoutPosition(m), outcome{}
	if m.Keep != nil && (!m.Keep.OnlySeen || s.remembers(m.Target, now)) {
		end.receipt = s.life(m.Target, now).append(m, now)
		end.err = confirmedBy(m.Keep)
		kept := *m
		kept.Epoch, kept.Offset = end.receipt.Epoch, end.receipt.Offset
		placed = &kept
	}
	if m.IdempotencyKey != "" {
		s.remember(b.seed, m, end.receipt, now)
	}
	return placed, end
}

// confirmedBy says that the one copy in this process is not enough, where replicas are asked for.
func confirmedBy(k *backplane.Keep) error {
	if k.MinReplicas > 0 {
		return fmt.Errorf("%w: a gateway without Redis has no replicas, and %d are asked for", backplane.ErrUnconfirmed, k.MinReplicas)
	}
	return nil
}

// startSweeping starts the sweeper when there is a first thing that will expire. The caller is counted in by enter.
func (b *Backplane) startSweeping() {
	b.sweeping.Do(func() {
		go func() {
			defer close(b.swept)
			b.sweep()
		}()
	})
}

// sweep gives the memory of what has expired back, until Close.
func (b *Backplane) sweep() {
	ticker := time.NewTicker(sweepPause)
	defer ticker.Stop()
	for {
		select {
		case <-b.stop:
			return
		case now := <-ticker.C:
			for i := range b.shards {
				b.shards[i].expire(now)
			}
		}
	}
}

// expire forgets what has expired. A map keeps the memory of its largest size, so an empty one is let go of.
func (s *shard) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for target, l := range s.logs {
		if !now.Before(l.expires) {
			delete(s.logs, target)
		}
	}
	if len(s.logs) == 0 {
		s.logs = nil
	}
	for target, u := range s.users {
		if len(u.connections) == 0 && !now.Before(u.seenUntil) {
			delete(s.users, target)
		}
	}
	if len(s.users) == 0 {
		s.users = nil
	}
	s.forget(now)
}
