package socket

import "encoding/binary"

// The opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	finBit        = 0x80
	compressedBit = 0x40 // RSV1, RFC 7692
	reservedBits  = 0x30 // RSV2 and RSV3
	maskBit       = 0x80
	maxControl    = 125
)

// AppendText appends payload as one unfragmented text frame.
func AppendText(dst, payload []byte) []byte {
	return append(appendHeader(dst, finBit|opText, len(payload)), payload...)
}

// TextHeaderSize returns the length of the header of a text frame with n bytes of payload.
func TextHeaderSize(n int) int {
	switch {
	case n <= maxControl:
		return 2
	case n < 1<<16:
		return 4
	}
	return 10
}

// appendHeader appends the header of an unmasked frame.
func appendHeader(dst []byte, first byte, n int) []byte {
	switch TextHeaderSize(n) {
	case 2:
		return append(dst, first, byte(n))
	case 4:
		return append(dst, first, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}

// appendClose appends a close frame; text is cut to what a control frame holds.
func appendClose(dst []byte, code uint16, text string) []byte {
	text = text[:min(len(text), maxControl-2)]
	dst = appendHeader(dst, finBit|opClose, 2+len(text))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, text...)
}

// unmask undoes the client's masking in place, eight bytes at a time.
func unmask(p []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// AppendTextFrom appends one text frame whose payload encode appends.
func AppendTextFrom(dst []byte, encode func(dst []byte) []byte) []byte {
	start := len(dst)
	// Room for the longest header that is likely; encoded frames move by the few bytes that it turns out shorter.
	const room = 4
	dst = encode(append(dst, 0, 0, 0, 0))
	size := len(dst) - start - room
	if header := TextHeaderSize(size); header > room {
		return AppendText(dst[:start], append([]byte(nil), dst[start+room:]...))
	} else if header < room {
		copy(dst[start+header:], dst[start+room:])
		dst = dst[:start+header+size]
	}
	appendHeader(dst[:start], finBit|opText, size)
	return dst
}
