package redis

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var (
	//go:embed lua/announce.lua
	announceLua string
	//go:embed lua/nodes.lua
	nodesLua string
	//go:embed lua/withdraw.lua
	withdrawLua string

	announceScript = goredis.NewScript(announceLua)
	nodesScript    = goredis.NewScript(nodesLua)
	withdrawScript = goredis.NewScript(withdrawLua)

	registryScripts = []*goredis.Script{announceScript, nodesScript, withdrawScript}
)

var _ backplane.Registry = (*Backplane)(nil)

// registryKeys are the two keys that all nodes of the cluster are in; they share a slot.
func (b *Backplane) registryKeys() (tag string, keys []string) {
	tag = b.names.cluster + ":{nodes}"
	return tag, []string{tag + ":seen", tag + ":records"}
}

// Announce implements backplane.Registry.
func (b *Backplane) Announce(ctx context.Context, record []byte) (nodes int, err error) {
	lease := b.dialer.options.Timing.Lease
	reply, err := b.registryCall(ctx, announceScript, b.writer.id, string(record), lease.Milliseconds(), unusedLife.Milliseconds())
	if err != nil {
		return 0, err
	}
	count, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("%w: announce.lua answered %v", backplane.ErrUnavailable, reply)
	}
	b.announced.Store(true)
	return int(count), nil
}

// Nodes implements backplane.Registry.
func (b *Backplane) Nodes(ctx context.Context) ([]backplane.Announcement, error) {
	reply, err := b.registryCall(ctx, nodesScript, b.dialer.options.Timing.Lease.Milliseconds())
	if err != nil {
		return nil, err
	}
	fields, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: nodes.lua answered %v", backplane.ErrUnavailable, reply)
	}
	nodes := make([]backplane.Announcement, 0, len(fields)/3)
	for node := range slices.Chunk(fields, 3) {
		if len(node) < 3 {
			return nil, fmt.Errorf("%w: nodes.lua answered half a node", backplane.ErrUnavailable)
		}
		name, isName := node[0].(string)
		age, isAge := node[1].(int64)
		record, isRecord := node[2].(string)
		if !isName || !isAge || !isRecord {
			return nil, fmt.Errorf("%w: nodes.lua answered something else than nodes", backplane.ErrUnavailable)
		}
		nodes = append(nodes, backplane.Announcement{
			Own: name == b.writer.id, Age: time.Duration(age) * time.Millisecond, Record: []byte(record),
		})
	}
	return nodes, nil
}

// withdraw has the other processes forget this one at once. It does not wait: Close does.
func (b *Backplane) withdraw() {
	if !b.announced.Load() {
		return
	}
	tag, keys := b.registryKeys()
	b.call(b.publisherOf(tag), &call{tag: tag, script: withdrawScript, keys: keys, args: []any{b.writer.id}, ended: func(any, error) {}})
}

// registryCall runs a script on the registry's keys and waits for its reply.
func (b *Backplane) registryCall(ctx context.Context, script *goredis.Script, args ...any) (any, error) {
	tag, keys := b.registryKeys()
	return awaitAnswer(ctx, func(ended func(any, error)) {
		b.call(b.publisherOf(tag), &call{tag: tag, script: script, keys: keys, args: args, ended: ended})
	})
}
