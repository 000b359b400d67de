package memory

import (
	"hash/maphash"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// key is an idempotency key within all that it belongs to.
type key struct {
	target         backplane.Target
	publisher, key string
}

// remembered is a publication that a repeated one is answered with.
type remembered struct {
	receipt backplane.Receipt
	data    uint64 // hash of the message's Data, with a seed of this process that nobody can aim at
	expires time.Time
}

// remembering is a key with the time at which it expires, in the order of these times.
type remembering struct {
	key     key
	expires time.Time
}

// answer says how the first publication with the same key ended, if there is one. The caller has the shard's lock.
func (s *shard) answer(seed maphash.Seed, m *backplane.Message) (end outcome, repeated bool) {
	first, ok := s.keys[keyOf(m)]
	switch {
	case !ok || !time.Now().Before(first.expires):
		return outcome{}, false
	case first.data != maphash.Bytes(seed, m.Data):
		return outcome{err: backplane.ErrConflict}, true
	}
	end = outcome{receipt: first.receipt}
	if m.Keep != nil && first.receipt.Offset > 0 {
		end.err = confirmedBy(m.Keep)
	}
	return end, true
}

// remember keeps how a publication with a key ended for the window. The caller has the shard's lock.
func (s *shard) remember(seed maphash.Seed, m *backplane.Message, receipt backplane.Receipt, now time.Time) {
	s.forget(now)
	if s.keys == nil {
		s.keys = make(map[key]remembered)
	}
	receipt.MessageID = string(m.ID)
	k, expires := keyOf(m), now.Add(backplane.IdempotencyWindow)
	s.keys[k] = remembered{receipt: receipt, data: maphash.Bytes(seed, m.Data), expires: expires}
	s.expiring = append(s.expiring, remembering{key: k, expires: expires})
}

// forget drops the keys whose window is over. Since all windows are of one length, they end in the order of their begin.
func (s *shard) forget(now time.Time) {
	for len(s.expiring) > 0 && !now.Before(s.expiring[0].expires) {
		delete(s.keys, s.expiring[0].key)
		s.expiring[0] = remembering{}
		s.expiring = s.expiring[1:]
	}
	if len(s.expiring) == 0 {
		s.keys, s.expiring = nil, nil
	}
}

func keyOf(m *backplane.Message) key {
	return key{target: m.Target, publisher: m.Publisher, key: m.IdempotencyKey}
}
