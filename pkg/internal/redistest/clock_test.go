package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestTheClockOfAServerJumps(t *testing.T) {
	server, clock := StartWithClock(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	for _, jump := range []time.Duration{0, time.Hour, -2 * time.Hour, 0} {
		clock.Jump(t, jump)
		now, err := client.Time(t.Context()).Result()
		if off := time.Until(now) - jump; err != nil || off < -time.Minute || off > time.Minute {
			t.Errorf("the server's clock is at %v, %v, want it %v from here", now, err, jump)
		}
	}
}
