package redis

import (
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

// attendedLife is how long a user's connections are remembered after a node's last word of them; nodes tell of them again well
// before.
const attendedLife = 3 * time.Hour

// clockError is how far a node's clock may be from the store's to be used for the order of a user's connections. Clocks that
// are kept by NTP are within milliseconds.
const clockError = 3 * time.Second

var (
	//go:embed lua/attend.lua
	attendLua    string
	attendScript = goredis.NewScript(attendLua)

	limitScripts = []*goredis.Script{attendScript, turnsScript, spendScript}
)

var _ backplane.Users = (*Backplane)(nil)

// Attend implements backplane.Users.
func (b *Backplane) Attend(user backplane.Target, a backplane.Attendance, done func(backplane.Attended, error)) {
	tag := string(b.names.appendTag(nil, user))
	all, settle := "", ""
	if a.All {
		all = "all"
	}
	if a.Settle {
		settle = "settle"
	}
	args := make([]any, 0, 9+3*len(a.Came)+len(a.Left))
	now := time.Now()
	args = append(args, b.writer.id, a.Limit, attendedLife.Milliseconds(), a.Seen.Milliseconds(), all, settle, a.Fresh.Milliseconds(), len(a.Came), clockError.Microseconds())
	for _, c := range a.Came {
		args = append(args, c.ID, c.Age.Milliseconds(), now.Add(-c.Age).UnixMicro())
	}
	for _, id := range a.Left {
		args = append(args, id)
	}
	b.call(b.publisherOf(tag), &call{tag: tag, script: attendScript, keys: []string{tag + ":conns", tag + ":pods", tag + ":seen"}, args: args,
		ended: func(reply any, err error) {
			if err != nil {
				done(backplane.Attended{}, err)
				return
			}
			done(parseAttended(reply))
		}})
}

func parseAttended(reply any) (a backplane.Attended, err error) {
	broken := fmt.Errorf("%w: attend.lua answered %v", backplane.ErrUnavailable, reply)
	fields, ok := reply.([]any)
	if !ok || len(fields) == 0 {
		return a, broken
	}
	switch fields[0] {
	case "D":
		return backplane.Attended{Doubtful: true}, nil
	case "K":
	default:
		return a, broken
	}
	for _, field := range fields[1:] {
		id, ok := field.(string)
		if !ok {
			return backplane.Attended{}, broken
		}
		a.Replaced = append(a.Replaced, id)
	}
	return a, nil
}
