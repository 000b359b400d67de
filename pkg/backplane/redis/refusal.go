package redis

import (
	"context"
	_ "embed"
	"errors"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/write.lua
	writeLua    string
	writeScript = goredis.NewScript(writeLua)
)

// writeSuffix ends the name of the key that is written to see whether Redis takes writes.
const writeSuffix = ":write"

// Refusal implements backplane.Canary. It writes beside a canary's channel, which is the shard's for certain.
func (b *Backplane) Refusal(ctx context.Context, shard string) (string, error) {
	home, err := b.canaries.cage(cagePlace{shard: shard})
	if err != nil {
		return "", err
	}
	tag := string(b.names.appendTag(nil, home.target))
	_, err = awaitAnswer(ctx, func(ended func(any, error)) {
		b.call(b.publisherOf(tag), &call{tag: tag, script: writeScript, keys: []string{tag + writeSuffix}, ended: ended})
	})
	// What a replica says, or a server that is loading or was not let in to, is of the link, which is left for another one.
	if refused, ok := errors.AsType[refusal](err); ok && !unusable(refused) {
		// Redis appends the hash of the script and the line in it
		words, _, _ := strings.Cut(string(refused), " script: ")
		return words, nil
	}
	return "", err
}
