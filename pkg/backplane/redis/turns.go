package redis

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var (
	//go:embed lua/turns.lua
	turnsLua    string
	turnsScript = goredis.NewScript(turnsLua)
)

var _ backplane.Turns = (*Backplane)(nil)

// TakeTurns implements backplane.Turns.
func (b *Backplane) TakeTurns(ctx context.Context, want backplane.TurnRequest) (backplane.TurnGrant, error) {
	tag := b.names.cluster + ":{turns}"
	reply, err := awaitAnswer(ctx, func(ended func(any, error)) {
		b.call(b.publisherOf(tag), &call{
			tag: tag, script: turnsScript, keys: []string{tag + ":next", tag + ":left"},
			args: []any{b.writer.id, want.Count, want.Left, max(1, want.Rate), want.Horizon.Microseconds()}, ended: ended,
		})
	})
	if err != nil {
		return backplane.TurnGrant{}, err
	}
	return parseTurns(reply)
}

func parseTurns(reply any) (backplane.TurnGrant, error) {
	fields, ok := reply.([]any)
	if ok && len(fields) == 3 {
		count, isCount := fields[0].(int64)
		start, isStart := fields[1].(int64)
		left, isLeft := fields[2].(int64)
		if isCount && isStart && isLeft {
			return backplane.TurnGrant{Count: int(count), Start: time.Duration(start) * time.Microsecond, Left: int(left)}, nil
		}
	}
	return backplane.TurnGrant{}, fmt.Errorf("%w: turns.lua answered %v", backplane.ErrUnavailable, reply)
}
