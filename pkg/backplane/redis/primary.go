package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/epoch.lua
	epochLua string
	//go:embed lua/seen.lua
	seenLua string
	//go:embed lua/append.lua
	appendLua string
	//go:embed lua/once.lua
	onceLua string
	//go:embed lua/read.lua
	readLua string

	appendScript = goredis.NewScript(epochLua + appendLua)
	// appendSeenScript keeps only for users who have been seen.
	appendSeenScript = goredis.NewScript(epochLua + seenLua + appendLua)
	onceScript       = goredis.NewScript(onceLua)
	readScript       = goredis.NewScript(epochLua + readLua)
)

// noReplication stands for the replication id of an embedded server, which has none and can have no replicas.
const noReplication = "none"

var errOtherPrimary = errors.New("the Redis behind the connection is another primary than before")

// prepareLogs makes the link ready for scripts: it reads the primary's replication id, by which the scripts tell one
// primary from the next, and brings them along. It looks again when that was longer ago than every: a server that became a
// replica and a primary again on the same connection has another id by then.
func (l *link) prepareLogs(ctx context.Context, every time.Duration) error {
	if l.replicationID != "" && time.Since(l.verified) < every {
		return nil
	}
	id, err := readReplicationID(ctx, l.client)
	if err != nil {
		return err
	}
	if l.replicationID == "" {
		for _, script := range slices.Concat([]*goredis.Script{appendScript, appendSeenScript, onceScript, readScript}, presenceScripts, registryScripts, limitScripts, []*goredis.Script{writeScript}) {
			if err := script.Load(ctx, l.client).Err(); err != nil {
				return fmt.Errorf("load a script into Redis: %w", err)
			}
		}
	} else if id != l.replicationID {
		return errOtherPrimary
	}
	l.replicationID, l.verified = id, time.Now()
	return nil
}

// check finds out whether Redis answers and, on a link that scripts are used on, is still the same primary.
func (l *link) check(ctx context.Context) error {
	if l.replicationID == "" {
		return l.client.Ping(ctx).Err()
	}
	return l.prepareLogs(ctx, 0)
}

func readReplicationID(ctx context.Context, client *goredis.Client) (string, error) {
	info, err := client.Info(ctx, "replication").Result()
	if err != nil {
		if strings.Contains(err.Error(), "section (replication) is not supported") {
			return noReplication, nil
		}
		return "", fmt.Errorf("ask Redis for its replication id, with INFO: %w", err)
	}
	values := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			values[name] = value
		}
	}
	if role := values["role"]; role != "master" {
		return "", fmt.Errorf("connected to a Redis whose role is %q, not to the primary", role)
	}
	if values["master_replid"] == "" {
		return "", errors.New("INFO replication of Redis has no master_replid")
	}
	return values["master_replid"], nil
}
