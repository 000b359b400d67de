package redis

import (
	_ "embed"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var (
	//go:embed lua/spend.lua
	spendLua    string
	spendScript = goredis.NewScript(spendLua)
)

var _ backplane.Budgets = (*Backplane)(nil)

// Spend implements backplane.Budgets.
func (b *Backplane) Spend(user backplane.Target, count, rate, burst int, done func(left float64, err error)) {
	tag := string(b.names.appendTag(nil, user))
	b.call(b.publisherOf(tag), &call{tag: tag, script: spendScript, keys: []string{tag + ":rate"}, args: []any{count, max(1, rate), max(1, burst)},
		ended: func(reply any, err error) {
			if err != nil {
				done(0, err)
				return
			}
			text, _ := reply.(string)
			left, err := strconv.ParseFloat(text, 64)
			if err != nil {
				err = fmt.Errorf("%w: spend.lua answered %v", backplane.ErrUnavailable, reply)
			}
			done(left, err)
		}})
}
