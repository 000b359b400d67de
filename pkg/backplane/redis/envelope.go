package redis

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// What is published to a channel is an envelope: the message's JSON with what only gateways need in front of it.
//
//	byte 0   version, 1
//	byte 1   flags: bit 0 says that an excluded connection follows, bit 1 that the body is changes of who is in the room
//	[varint  length of the connection id, at most 255
//	 bytes   the connection id]
//	rest     the body, a JSON object
//
// What is kept in a log is such an envelope. lua/append.lua publishes it with its place in the log in front:
//
//	byte 0   version, 2
//	text     epoch ":" offset ":"
//	rest     an envelope of version 1
//
// A gateway skips and counts envelopes of a version or with a flag that it does not know, so that gateways of two versions
// can share a Redis during a rollout.

const (
	plainVersion  = 1
	placedVersion = 2
	// flagExclude says that the id of a connection that must not get the message follows.
	flagExclude = 1 << 0
	// flagChanges says that the body is no message but tells who came to the room and who left it: see parseChanges.
	flagChanges = 1 << 1
	knownFlags  = flagExclude | flagChanges
	// maxExcludeBytes bounds a connection id; ours have less than 64.
	maxExcludeBytes = 255
	// maxEpochBytes bounds an epoch; ours have less than 32.
	maxEpochBytes = 64
	// maxOffset is the largest offset, 2^53−1: clients count in floating point.
	maxOffset = 1<<53 - 1
)

var (
	errEnvelopeVersion = errors.New("the envelope's version or flags are unknown")
	errEnvelopeBroken  = errors.New("the envelope is broken")
)

// appendEnvelope appends the envelope of a body to dst. An exclude of more than 255 bytes is left out.
func appendEnvelope(dst []byte, exclude string, body []byte) []byte {
	if exclude == "" || len(exclude) > maxExcludeBytes {
		return append(append(dst, plainVersion, 0), body...)
	}
	dst = append(dst, plainVersion, flagExclude)
	dst = binary.AppendUvarint(dst, uint64(len(exclude)))
	dst = append(dst, exclude...)
	return append(dst, body...)
}

// appendPlace appends what lua/append.lua puts in front of an envelope.
func appendPlace(dst []byte, epoch string, offset int64) []byte {
	dst = append(append(dst, placedVersion), epoch...)
	return append(strconv.AppendInt(append(dst, ':'), offset, 10), ':')
}

// envelope is a decoded one; its strings are parts of what was decoded.
type envelope struct {
	// epoch and offset are empty and 0 where there is no log.
	epoch   string
	offset  int64
	exclude string
	changes bool
	body    string
}

// decodeEnvelope reads an envelope of either version.
func decodeEnvelope(data string) (envelope, error) {
	if data == "" || data[0] != placedVersion {
		return decodePlain(data)
	}
	epoch, offset, rest, ok := cutPosition(data[1:])
	if !ok {
		return envelope{}, errEnvelopeBroken
	}
	e, err := decodePlain(rest)
	if err != nil {
		return envelope{}, err
	}
	e.epoch, e.offset = epoch, offset
	return e, nil
}

func decodePlain(data string) (envelope, error) {
	if len(data) < 2 {
		return envelope{}, errEnvelopeBroken
	}
	if data[0] != plainVersion || data[1]&^knownFlags != 0 {
		return envelope{}, errEnvelopeVersion
	}
	flags, rest := data[1], data[2:]
	e := envelope{changes: flags&flagChanges != 0}
	if flags&flagExclude != 0 {
		n, size := uvarint(rest)
		if size <= 0 || n == 0 || n > maxExcludeBytes || n > uint64(len(rest)-size) {
			return envelope{}, errEnvelopeBroken
		}
		e.exclude, rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	if rest == "" {
		return envelope{}, errEnvelopeBroken
	}
	e.body = rest
	return e, nil
}

// cutPosition reads epoch ":" offset ":" and returns what follows.
func cutPosition(s string) (epoch string, offset int64, rest string, ok bool) {
	colon := strings.IndexByte(s[:min(len(s), maxEpochBytes+1)], ':')
	if colon <= 0 {
		return "", 0, "", false
	}
	epoch, s = s[:colon], s[colon+1:]
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':':
			return epoch, offset, s[i+1:], offset > 0
		case c < '0' || c > '9' || i == 0 && c == '0':
			return "", 0, "", false
		default:
			offset = offset*10 + int64(c-'0')
		}
		if offset > maxOffset {
			return "", 0, "", false
		}
	}
	return "", 0, "", false
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (uint64, int) {
	var head [binary.MaxVarintLen64]byte
	return binary.Uvarint(head[:copy(head[:], s)])
}
