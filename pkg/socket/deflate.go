package socket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Messages are compressed as RFC 7692 says, without context takeover on either side: a connection keeps no window, and a
// message to many is compressed once.

// minDeflate is the smallest payload worth compressing: below it deflate's own bytes and time gain nothing.
const minDeflate = 256

// deflateTail ends every compressed message and is left out on the wire (RFC 7692, section 7.2.1); lastBlock tells the
// reader that nothing follows.
const (
	deflateTail = "\x00\x00\xff\xff"
	lastBlock   = "\x01\x00\x00\xff\xff"
)

// offersDeflate tells whether the client offers permessage-deflate; the handshake accepts it whatever its parameters are.
func offersDeflate(h http.Header) bool {
	for _, line := range h.Values("Sec-Websocket-Extensions") {
		for extension := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(extension, ";")
			if strings.TrimSpace(name) == "permessage-deflate" {
				return true
			}
		}
	}
	return false
}

// A writer's window takes more than half a megabyte, so there are as few as possible.
var (
	deflaters = sync.Pool{New: func() any {
		w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is valid
		return w
	}}
	inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}
)

// deflated returns the same frames with compressed payloads, made at the first call. The result lives as long as b.
func (b *Buffer) deflated() *Buffer {
	b.deflateOnce.Do(func() {
		compressed := NewBuffer()
		for rest := b.B; len(rest) > 0; {
			header, size := frameSize(rest)
			compressed.B = appendDeflated(compressed.B, rest[:header+size], header)
			rest = rest[header+size:]
		}
		b.compressed = compressed
	})
	return b.compressed
}

// frameSize returns the lengths of the header and the payload of the unmasked frame at the start of b.
func frameSize(b []byte) (header, size int) {
	switch b[1] {
	case 126:
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	return 2, int(b[1])
}

// appendDeflated appends the frame, compressed if it is a text frame that gains by it.
func appendDeflated(dst, frame []byte, header int) []byte {
	payload := frame[header:]
	if frame[0]&0x0F != opText || len(payload) < minDeflate {
		return append(dst, frame...)
	}
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, err := w.Write(payload)
	if err = errors.Join(err, w.Flush()); err != nil {
		return append(dst, frame...) // a bytes.Buffer does not fail; uncompressed is right in any case
	}
	compressed := bytes.TrimSuffix(out.Bytes(), []byte(deflateTail))
	if len(compressed) >= len(payload) {
		return append(dst, frame...)
	}
	return append(appendHeader(dst, frame[0]|compressedBit, len(compressed)), compressed...)
}

var errTooLarge = errors.New("larger than allowed")

// inflate returns the payload that compressed stands for, or errTooLarge if that is more than most bytes.
func inflate(compressed []byte, most int) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	source := io.MultiReader(bytes.NewReader(compressed), strings.NewReader(deflateTail+lastBlock))
	if err := r.(flate.Resetter).Reset(source, nil); err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(payload) > most {
		return nil, errTooLarge
	}
	return payload, nil
}
