package redis

import (
	"hash/maphash"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// channelSuffix follows the tag in the name of a channel.
const channelSuffix = ":ch"

// names makes the names of keys and channels; see the package comment for their form. It is immutable.
type names struct {
	cluster string
	seed    maphash.Seed
	// sharded says that there are slots, and that channels are in them as keys are; publish is the command to publish with.
	sharded bool
	publish string
}

func newNames(cluster string, sharded bool) names {
	n := names{cluster: cluster, seed: maphash.MakeSeed(), sharded: sharded, publish: "PUBLISH"}
	if sharded {
		n.publish = "SPUBLISH"
	}
	return n
}

// slot returns the slot of a name of ours, 0 where there are none.
func (n names) slot(name []byte) uint16 {
	if !n.sharded {
		return 0
	}
	return slotOf(name)
}

// appendChannel appends the name of the target's channel to dst.
func (n names) appendChannel(dst []byte, target backplane.Target) []byte {
	return append(n.appendTag(dst, target), channelSuffix...)
}

// appendTag appends what all names of a target begin with: the cluster and the hash tag.
func (n names) appendTag(dst []byte, target backplane.Target) []byte {
	dst = append(dst, n.cluster...)
	switch target.Kind {
	case backplane.User:
		dst = append(dst, ":{u:"...)
	case canaryTarget:
		dst = append(dst, ":{c:"...)
	default:
		dst = append(dst, ":{r:"...)
	}
	dst = appendEncoded(dst, target.ID)
	return append(dst, '}')
}

// spread picks one of n connections for a channel; always the same one within this process.
func (n names) spread(channel []byte, connections int) int {
	if connections == 1 {
		return 0
	}
	return int(maphash.Bytes(n.seed, channel) % uint64(connections))
}

const upperHex = "0123456789ABCDEF"

// appendEncoded percent-encodes all bytes but the unreserved ones of RFC 3986.
func appendEncoded(dst []byte, id string) []byte {
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '~', c == '-':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}
