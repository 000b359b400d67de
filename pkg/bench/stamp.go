package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// A stamp travels inside the data of every message. It says who sent it as the how-manieth and when, in a fixed place after
// four bytes that nothing else contains, so that it is found without parsing what is around it.
const (
	stampMagic = "~wb~"
	stampHex   = 2 * (4 + 4 + 8)
	stampBytes = len(stampMagic) + stampHex
	// MinPayloadBytes is a stamp and the quotes of a JSON string.
	MinPayloadBytes = stampBytes + 2
)

// Stamp identifies one message.
type Stamp struct {
	// Stream is the sequence of one publisher's messages to one room.
	Stream uint32
	// Seq counts 1, 2, 3 … in the stream.
	Seq uint32
	// At is when it was sent, since the generator's start.
	At time.Duration
}

// appendID appends the stamp without its magic: 32 characters, also used as the command's id.
func (s Stamp) appendID(dst []byte) []byte {
	var raw [stampHex / 2]byte
	binary.BigEndian.PutUint32(raw[0:], s.Stream)
	binary.BigEndian.PutUint32(raw[4:], s.Seq)
	binary.BigEndian.PutUint64(raw[8:], uint64(s.At))
	return hex.AppendEncode(dst, raw[:])
}

// parseID reads what appendID wrote.
func parseID(p []byte) (s Stamp, ok bool) {
	var raw [stampHex / 2]byte
	if len(p) < stampHex {
		return s, false
	}
	for i := range raw {
		high, low := nibbles[p[2*i]], nibbles[p[2*i+1]]
		if high|low > 15 {
			return s, false
		}
		raw[i] = high<<4 | low
	}
	return Stamp{
		Stream: binary.BigEndian.Uint32(raw[0:]), Seq: binary.BigEndian.Uint32(raw[4:]),
		At: time.Duration(binary.BigEndian.Uint64(raw[8:])),
	}, true
}

// nibbles gives the value of a hexadecimal digit; 255: it is none.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()

// NextStamp returns the first stamp in p and what follows it; ok is false if there is none.
func NextStamp(p []byte) (s Stamp, rest []byte, ok bool) {
	for {
		at := bytes.Index(p, []byte(stampMagic))
		if at < 0 {
			return s, nil, false
		}
		p = p[at+len(stampMagic):]
		if s, ok = parseID(p); ok {
			return s, p[stampHex:], true
		}
	}
}

// appendData appends a JSON string of size bytes, quotes included, that starts with the stamp. size is at least MinPayloadBytes.
func (s Stamp) appendData(dst []byte, size int) []byte {
	dst = append(dst, '"')
	dst = append(dst, stampMagic...)
	dst = s.appendID(dst)
	for range size - MinPayloadBytes {
		dst = append(dst, 'x')
	}
	return append(dst, '"')
}
