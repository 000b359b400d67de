package gateway

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"strconv"
	"strings"
	"sync/atomic"
)

// messageIDs makes message ids that no other process makes: a random part for the process and a count.
type messageIDs struct {
	process string
	count   *atomic.Uint64
}

func newMessageIDs() messageIDs {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return messageIDs{process: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])) + "-", count: new(atomic.Uint64)}
}

func (m messageIDs) next(dst []byte) []byte {
	return strconv.AppendUint(append(dst, m.process...), m.count.Add(1), 36)
}

// newConnectionID returns 16 characters that nobody can guess or meet twice.
func newConnectionID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}
