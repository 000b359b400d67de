package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	// readBufferBytes is the size of a link's read buffer: a burst of messages, or the replies of a full pipeline, in one
	// system call. It grows for what is larger, and shrinks again when that is over keptReadBufferBytes.
	readBufferBytes     = 64 << 10
	keptReadBufferBytes = 1 << 20
	// maxLineBytes bounds a line: the head of a value, or an error of Redis.
	maxLineBytes = 16 << 10
	// maxBulkBytes bounds one string. It is twice what settings allow a message to have, and a quarter of Redis's own bound.
	maxBulkBytes = 128 << 20
	// maxArrayLength and maxArrayDepth bound a reply; the largest of ours is a page of a log, which is one level deep.
	maxArrayLength = 1 << 20
	maxArrayDepth  = 4
)

var errNotRESP = errors.New("what Redis sent is not what it should be")

// refusal is an error that Redis answered with. It implements goredis.Error, so that go-redis tells its kinds apart.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError marks an error of the server.
func (r refusal) RedisError() {}

// respReader reads RESP2 from a source without allocating for it. What it cannot read in full breaks the stream: after any
// error but a refusal nothing more may be read, since what follows may be the rest of a value.
type respReader struct {
	source io.Reader
	buf    []byte
	// buf[start:end] was read from the source and is still needed, pos is how far it is parsed.
	start, pos, end int
}

func newRESPReader(source io.Reader) *respReader {
	return &respReader{source: source, buf: make([]byte, readBufferBytes)}
}

// release lets go of everything parsed so far.
func (r *respReader) release() {
	r.start = r.pos
	if r.start < r.end {
		return
	}
	r.start, r.pos, r.end = 0, 0, 0
	if len(r.buf) > keptReadBufferBytes {
		r.buf = make([]byte, readBufferBytes)
	}
}

// drained says whether all that came is parsed.
func (r *respReader) drained() bool { return r.pos == r.end }

// need reads until n bytes after pos are there. It may move the buffer: slices of it are valid only until then.
func (r *respReader) need(n int) error {
	if r.end-r.pos >= n {
		return nil
	}
	if r.pos+n > len(r.buf) {
		parsed, unread := r.pos-r.start, r.end-r.start
		to := r.buf
		if parsed+n > len(r.buf) {
			to = make([]byte, max(parsed+n, min(2*len(r.buf), keptReadBufferBytes)))
		}
		copy(to, r.buf[r.start:r.end])
		r.buf, r.start, r.pos, r.end = to, 0, parsed, unread
	}
	for r.end-r.pos < n {
		got, err := r.source.Read(r.buf[r.end:])
		r.end += got
		if err != nil && r.end-r.pos < n {
			return err
		}
	}
	return nil
}

// line returns the next line, without its end, which is at least one byte long. It is valid until the next read.
func (r *respReader) line() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(r.buf[r.pos+seen:r.end], '\n'); i >= 0 {
			line := r.buf[r.pos : r.pos+seen+i]
			r.pos += len(line) + 1
			if len(line) < 2 || line[len(line)-1] != '\r' {
				return nil, errNotRESP
			}
			return line[:len(line)-1], nil
		}
		seen = r.end - r.pos
		if seen >= maxLineBytes {
			return nil, errNotRESP
		}
		if err := r.need(seen + 1); err != nil {
			return nil, err
		}
	}
}

// span is a part of the buffer that stays true when the buffer moves: offsets from start.
type span struct{ from, to int }

func (r *respReader) bytes(s span) []byte { return r.buf[r.start+s.from : r.start+s.to] }

// body reads the n bytes of a string and its end.
func (r *respReader) body(n int) (span, error) {
	if err := r.need(n + 2); err != nil {
		return span{}, err
	}
	at := r.pos
	r.pos += n + 2
	if r.buf[at+n] != '\r' || r.buf[at+n+1] != '\n' {
		return span{}, errNotRESP
	}
	return span{at - r.start, at - r.start + n}, nil
}

// bulk reads a string of up to maxBulkBytes that is not null.
func (r *respReader) bulk() (span, error) {
	n, err := r.head('$', maxBulkBytes)
	if err != nil {
		return span{}, err
	}
	return r.body(n)
}

// head reads a line of the given type that holds a number from 0 to limit.
func (r *respReader) head(kind byte, limit int) (int, error) {
	line, err := r.line()
	if err != nil {
		return 0, err
	}
	n, ok := parseInteger(line[1:])
	if line[0] != kind || !ok || n < 0 || n > int64(limit) {
		return 0, errNotRESP
	}
	return int(n), nil
}

// integer reads the reply of a command that answers with a number. A refusal leaves the stream whole.
func (r *respReader) integer() (int64, error) {
	r.release()
	line, err := r.line()
	if err != nil {
		return 0, err
	}
	if line[0] == '-' {
		return 0, refusal(line[1:])
	}
	n, ok := parseInteger(line[1:])
	if line[0] != ':' || !ok {
		return 0, errNotRESP
	}
	return n, nil
}

// value reads any reply: a string, an int64, nil or a []any of them, all copied. A refusal, also one within an array, leaves
// the stream whole.
func (r *respReader) value() (any, error) { return r.valueWithin(maxArrayDepth) }

func (r *respReader) valueWithin(depth int) (any, error) {
	r.release()
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	switch line[0] {
	case '-':
		return nil, refusal(line[1:])
	case '+':
		return string(line[1:]), nil
	}
	n, ok := parseInteger(line[1:])
	switch kind := line[0]; {
	case !ok:
		return nil, errNotRESP
	case kind == ':':
		return n, nil
	case n == -1 && (kind == '$' || kind == '*'):
		return nil, nil
	case kind == '$' && n >= 0 && n <= maxBulkBytes:
		s, err := r.body(int(n))
		if err != nil {
			return nil, err
		}
		return string(r.bytes(s)), nil
	case kind == '*' && n >= 0 && n <= maxArrayLength && depth > 0:
		return r.elements(int(n), depth-1)
	default:
		return nil, errNotRESP
	}
}

// elements reads an array's n elements, all of them even when one is a refusal.
func (r *respReader) elements(n, depth int) (any, error) {
	values := make([]any, 0, min(n, 1024))
	var refused error
	for range n {
		v, err := r.valueWithin(depth)
		if _, ok := errors.AsType[refusal](err); err != nil && !ok {
			return nil, err
		} else if err != nil {
			refused = err
		}
		values = append(values, v)
	}
	return values, refused
}

// parseInteger is strconv.ParseInt in base 10 without a plus sign and without a copy.
func parseInteger(digits []byte) (int64, bool) {
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	// Nothing that Redis sends us comes near the 19 digits that could overflow.
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// appendCommand appends a command of string, []byte, int and int64 arguments to dst.
func appendCommand(dst []byte, args ...any) []byte {
	dst = appendHead(dst, '*', len(args))
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			dst = appendBulk(dst, arg)
		case []byte:
			dst = appendBulk(dst, arg)
		case int:
			dst = appendNumber(dst, int64(arg))
		case int64:
			dst = appendNumber(dst, arg)
		default:
			panic(fmt.Sprintf("a command for Redis has an argument of type %T", arg))
		}
	}
	return dst
}

func appendHead(dst []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(dst, kind), int64(n), 10), '\r', '\n')
}

func appendBulk[T string | []byte](dst []byte, text T) []byte {
	return append(append(appendHead(dst, '$', len(text)), text...), '\r', '\n')
}

func appendNumber(dst []byte, n int64) []byte {
	var digits [20]byte
	return appendBulk(dst, strconv.AppendInt(digits[:0], n, 10))
}
