package redis

import (
	"encoding/binary"
	"errors"
)

// What is published to a channel is an envelope: the message's JSON with what only gateways need in front of it.
//
//	byte 0   version, 1
//	byte 1   flags: bit 0 says that an excluded connection follows
//	[varint  length of the connection id, at most 255
//	 bytes   the connection id]
//	rest     the body, a JSON object
//
// A gateway skips and counts envelopes of a version or with a flag that it does not know, so that gateways of two versions
// can share a Redis during a rollout.

const (
	envelopeVersion = 1
	// flagExclude says that the id of a connection that must not get the message follows.
	flagExclude = 1 << 0
	knownFlags  = flagExclude
	// maxExcludeBytes bounds a connection id; ours have less than 64.
	maxExcludeBytes = 255
)

var (
	errEnvelopeVersion = errors.New("the envelope's version or flags are unknown")
	errEnvelopeBroken  = errors.New("the envelope is broken")
)

// appendEnvelope appends the envelope of a body to dst. An exclude of more than 255 bytes is left out.
func appendEnvelope(dst []byte, exclude string, body []byte) []byte {
	if exclude == "" || len(exclude) > maxExcludeBytes {
		return append(append(dst, envelopeVersion, 0), body...)
	}
	dst = append(dst, envelopeVersion, flagExclude)
	dst = binary.AppendUvarint(dst, uint64(len(exclude)))
	dst = append(dst, exclude...)
	return append(dst, body...)
}

// envelope is a decoded one; its strings are parts of what was decoded.
type envelope struct {
	exclude string
	body    string
}

func decodeEnvelope(data string) (envelope, error) {
	var e envelope
	if len(data) < 2 {
		return e, errEnvelopeBroken
	}
	if data[0] != envelopeVersion || data[1]&^knownFlags != 0 {
		return e, errEnvelopeVersion
	}
	flags, rest := data[1], data[2:]
	if flags&flagExclude != 0 {
		n, size := uvarint(rest)
		if size <= 0 || n == 0 || n > maxExcludeBytes || n > uint64(len(rest)-size) {
			return e, errEnvelopeBroken
		}
		e.exclude, rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	if rest == "" {
		return e, errEnvelopeBroken
	}
	e.body = rest
	return e, nil
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	var head [binary.MaxVarintLen64]byte
	return binary.Uvarint(head[:copy(head[:], s)])
}
