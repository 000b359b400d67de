package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// unusedLife is how long a log that was only read keeps its epoch after the last read. It is long beside the time in which a hub
// looks at each of its rooms again, so that an epoch does not change under members.
const unusedLife = time.Hour

var _ backplane.Log = (*Backplane)(nil)

// writer names this process in logs, and numbers what it writes. Safe for concurrent use.
type writer struct {
	id   string
	last atomic.Int64
}

func newWriter() *writer { return &writer{id: rand.Text()[:12]} }

// next returns a number greater than all before it: the milliseconds since 1970 times 1024, or one more than the last when the
// clock does not advance. Whoever writes to a target sends the numbers in ascending order.
func (w *writer) next() int64 {
	for {
		last := w.last.Load()
		next := max(time.Now().UnixMilli()<<10, last+1)
		if w.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// logRequest is the part of a publication that is carried out by a script: one that is kept or has an idempotency key, or the
// reading of a log or a call of presence, which travel the same way.
type logRequest struct {
	tag    string // what the target's names begin with
	writer *writer
	// sequence is given by the queue, in its order; a second attempt has that of the first.
	sequence int64
	keep     *backplane.Keep
	// once, fingerprint and id are those of an idempotency key; once is empty without one.
	once, fingerprint, id string
	read                  *logRead
	// call is another script than those of logs.
	call *call

	// sent is true once an attempt was made whose end is not known.
	sent bool
	// reply is what the script answered.
	reply any
}

// logRead is a reading of a log; it is its own confirmation.
type logRead struct {
	cursor backplane.Cursor
	page   backplane.Page
	done   chan error
}

// Published hands the reader the end of its reading.
func (r *logRead) Published(_ backplane.Receipt, err error) { r.done <- err }

// newLogRequest returns what m asks for beyond being passed on, or nil. It copies what m only lends.
func newLogRequest(w *writer, tag string, m *backplane.Message) *logRequest {
	if m.Keep == nil && m.IdempotencyKey == "" {
		return nil
	}
	r := &logRequest{tag: tag, writer: w, id: string(m.ID)}
	if m.Keep != nil {
		keep := *m.Keep
		r.keep = &keep
	}
	if m.IdempotencyKey != "" {
		// The publisher's length keeps apart what would be the same text joined.
		owner := binary.AppendUvarint(nil, uint64(len(m.Publisher)))
		r.once = digest(append(append(owner, m.Publisher...), m.IdempotencyKey...))
		r.fingerprint = digest(m.Data)
	}
	return r
}

// digest returns 128 bits of SHA-256 in 22 characters.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// command returns the command for an envelope, which the script publishes with verb, on a link to the primary with the given
// replication id. Its arguments borrow channel and envelope.
func (r *logRequest) command(verb, replicationID string, channel, envelope []byte) []any {
	log, meta, once := r.tag+":log", r.tag+":meta", r.tag+":once:"+r.once
	window := backplane.IdempotencyWindow.Milliseconds()
	switch {
	case r.call != nil:
		return r.call.command()
	case r.read != nil:
		reverse := ""
		if r.read.cursor.Reverse {
			reverse = "reverse"
		}
		return []any{
			"EVALSHA", readScript.Hash(), 2, log, meta, replicationID, fmt.Sprintf("%s-%d", r.writer.id, r.writer.next()),
			r.read.cursor.Since, max(0, r.read.cursor.Limit), reverse, unusedLife.Milliseconds(),
		}
	case r.keep == nil:
		return []any{"EVALSHA", onceScript.Hash(), 1, once, channel, verb, envelope, r.fingerprint, r.id, window}
	}
	keys, script := []any{log, meta}, appendScript
	if r.once != "" {
		keys = append(keys, once)
	}
	if r.keep.OnlySeen {
		keys, script = append(keys, r.tag+":seen"), appendSeenScript
	}
	command := append([]any{"EVALSHA", script.Hash(), len(keys)}, keys...)
	command = append(command, channel, verb, r.writer.id, r.sequence, replicationID,
		r.keep.Size, r.keep.MaxBytes, r.keep.TTL.Milliseconds(), envelope)
	if r.once != "" {
		command = append(command, r.fingerprint, r.id, window)
	}
	if r.keep.OnlySeen {
		again := ""
		if r.sent {
			again = "again"
		}
		command = append(command, again)
	}
	return command
}

// verdict is what append.lua and once.lua found; their comments say more.
type verdict byte

const (
	appended   verdict = 'A'
	superseded verdict = 'S'
	repeated   verdict = 'D'
	conflict   verdict = 'C'
)

type result struct {
	verdict verdict
	receipt backplane.Receipt
}

// result reads the reply to a publication.
func (r *logRequest) result() (result, error) {
	reply, ok := r.reply.(string)
	if !ok {
		return result{}, fmt.Errorf("a script of ours answered %v", r.reply)
	}
	parsed, err := parseResult(reply)
	if err == nil && parsed.verdict == repeated && r.sent && parsed.receipt.MessageID == r.id {
		parsed.receipt.MessageID = "" // the first publication with the key was our own first attempt
	}
	return parsed, err
}

func parseResult(reply string) (result, error) {
	if reply == string(conflict) {
		return result{verdict: conflict}, nil
	}
	broken := fmt.Errorf("a script of ours answered %q", reply)
	fields := strings.SplitN(reply, " ", 4)
	if len(fields) < 3 || len(fields[0]) != 1 {
		return result{}, broken
	}
	r := result{verdict: verdict(fields[0][0])}
	want := 3
	switch r.verdict {
	case appended, superseded:
	case repeated:
		want = 4
	default:
		return result{}, broken
	}
	offset, err := strconv.ParseInt(fields[2], 10, 64)
	if len(fields) != want || err != nil || offset < 0 || fields[1] == "" {
		return result{}, broken
	}
	if fields[1] != "-" {
		r.receipt.Epoch, r.receipt.Offset = fields[1], offset
	}
	if want == 4 {
		r.receipt.MessageID = fields[3]
	}
	return r, nil
}

// parsePage reads the reply of read.lua.
func parsePage(value any, reverse bool) (backplane.Page, error) {
	broken := fmt.Errorf("%w: read.lua answered something else than a page", backplane.ErrUnavailable)
	reply, ok := value.([]any)
	if !ok || len(reply) < 6 {
		return backplane.Page{}, broken
	}
	var numbers [6]int64
	for _, i := range []int{1, 2, 4, 5} {
		if numbers[i], ok = reply[i].(int64); !ok {
			return backplane.Page{}, broken
		}
	}
	epoch, ok := reply[0].(string)
	before, ok2 := reply[3].(string)
	if !ok || !ok2 {
		return backplane.Page{}, broken
	}
	page := backplane.Page{
		Epoch: epoch, Newest: numbers[1], Oldest: numbers[2],
		Previous: backplane.PreviousEpoch{Epoch: before, Offset: numbers[4]},
	}
	for i, value := range reply[6:] {
		entry, ok := value.(string)
		if !ok {
			return backplane.Page{}, broken
		}
		e, err := decodePlain(entry)
		if err != nil {
			return backplane.Page{}, fmt.Errorf("%w: an entry of the log: %w", backplane.ErrUnavailable, err)
		}
		page.Messages = append(page.Messages, backplane.Logged{Offset: numbers[5] + int64(i), Exclude: e.exclude, Body: []byte(e.body)})
	}
	if reverse {
		slices.Reverse(page.Messages)
	}
	return page, nil
}

// ReadLog implements backplane.Log: oldest first, or newest first where the cursor asks for reverse. It waits for one round trip,
// at most until ctx ends or the publish timeout is over, whichever is first.
func (b *Backplane) ReadLog(ctx context.Context, target backplane.Target, from backplane.Cursor) (backplane.Page, error) {
	if ctx.Err() != nil {
		return backplane.Page{}, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	read := &logRead{cursor: from, done: make(chan error, 1)}
	p := blankPublication()
	p.buf = b.names.appendTag(p.buf, target)
	p.split = len(p.buf)
	p.slot = b.names.slot(p.buf)
	p.log = &logRequest{tag: string(p.buf), writer: b.writer, read: read}
	b.enqueue(b.reader, p, read)
	select {
	case err := <-read.done:
		return read.page, err
	case <-ctx.Done():
		return backplane.Page{}, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
}
