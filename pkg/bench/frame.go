package bench

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
)

// The opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	// OpText and OpBinary are the kinds of message.
	OpText   = 0x1
	OpBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// maxFrameBytes bounds what a server may send in one message; none that is measured comes near.
const maxFrameBytes = 64 << 20

var (
	errFrameMasked   = errors.New("the server sent a masked frame")
	errFrameTooLarge = errors.New("the server sent a frame of more than 64 MiB")
)

// appendFrame appends payload as one masked frame.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	key := rand.Uint32()
	dst = binary.LittleEndian.AppendUint32(dst, key)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key)
	return dst
}

func mask(p []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * (i & 3)))
	}
}

// appendClose appends a close frame.
func appendClose(dst []byte, code uint16) []byte {
	return appendFrame(dst, opClose, binary.BigEndian.AppendUint16(nil, code))
}

// parser cuts a stream of bytes into frames. The zero value is ready.
type parser struct {
	partial []byte // the beginning of a frame of which more has to come
	message []byte // the fragments of an unfinished message
	op      byte   // that message's kind
}

// feed hands over every message and control frame that is complete with p. The payload is borrowed until handle returns;
// handle returns false to stop.
func (f *parser) feed(p []byte, handle func(op byte, payload []byte) bool) error {
	if len(f.partial) > 0 {
		f.partial = append(f.partial, p...)
		p = f.partial
	}
	for {
		used, stop, err := f.one(p, handle)
		if err != nil || stop {
			f.partial = nil
			return err
		}
		if used == 0 {
			break
		}
		p = p[used:]
	}
	switch {
	case len(p) == 0:
		f.partial = nil
	case len(f.partial) > 0 && &p[0] == &f.partial[0]:
	default:
		f.partial = append([]byte(nil), p...)
	}
	return nil
}

// one handles the frame at the start of p; used is 0 if it is not complete.
func (f *parser) one(p []byte, handle func(op byte, payload []byte) bool) (used int, stop bool, err error) {
	if len(p) < 2 {
		return 0, false, nil
	}
	if p[1]&0x80 != 0 {
		return 0, false, errFrameMasked
	}
	header, size := 2, uint64(p[1])
	switch size {
	case 126:
		if header = 4; len(p) < header {
			return 0, false, nil
		}
		size = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if header = 10; len(p) < header {
			return 0, false, nil
		}
		size = binary.BigEndian.Uint64(p[2:])
	}
	if size > maxFrameBytes {
		return 0, false, errFrameTooLarge
	}
	used = header + int(size)
	if len(p) < used {
		return 0, false, nil
	}
	payload, op, fin := p[header:used], p[0]&0x0F, p[0]&0x80 != 0
	if op < opClose && (!fin || op == opContinuation) {
		if op != opContinuation {
			f.op = op
		}
		f.message = append(f.message, payload...)
		if !fin {
			return used, false, nil
		}
		op, payload, f.message = f.op, f.message, nil
	}
	return used, !handle(op, payload), nil
}
