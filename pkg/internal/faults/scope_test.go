package faults

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// scope is what the messages of a run are published to.
type scope string

const (
	keptRooms scope = "rooms with history"
	// shortRooms keep so few messages that a client that was away for a moment cannot recover, and has to be told so.
	shortRooms scope = "rooms with a short history"
	inboxes    scope = "inboxes"
	plainRooms scope = "rooms without history"
)

var scopes = []scope{keptRooms, shortRooms, inboxes, plainRooms}

// scopeOf has every kind of fault that can be the first of n meet every scope in as many runs as there are pairs of them, one after
// the other.
func scopeOf(number, n uint64) scope { return scopes[(number%n+number/n)%uint64(len(scopes))] }

const (
	longHistory  = 5000
	shortHistory = 20
	// quietBefore is how long nothing is broken in a room without history, so that there is a time in which nothing may be missed.
	quietBefore = 1500 * time.Millisecond
)

// size is how many messages a log holds; 0: there is none.
func (s scope) size() int {
	switch s {
	case shortRooms:
		return shortHistory
	case plainRooms:
		return 0
	}
	return longHistory
}

// settings are those of a gateway that drains fast.
func (s scope) settings() string {
	history, inbox := "", ""
	if s.size() > 0 {
		history = fmt.Sprintf(", history: {size: %d, ttlSeconds: %.0f}", s.size(), logLife.Seconds())
	}
	if s == inboxes {
		inbox = fmt.Sprintf("inbox: {size: %d, ttlSeconds: %.0f, maxBytes: 1048576}", longHistory, logLife.Seconds())
	}
	return fmt.Sprintf(`
auth: {type: trusted}
heartbeatSeconds: 5
drain: {delaySeconds: 0, timeoutSeconds: 2, reconnectsPerSecond: 1000}
limits: {messagesPerSecond: 0}
%s
rooms: [{match: "*", join: anyone, publish: anyone%s}]
`, inbox, history)
}

// userName is who a client is: where inboxes are looked at, two clients are one user.
func (p plan) userName(client int) string {
	if p.scope == inboxes {
		return fmt.Sprintf("user-%d", client%p.rooms)
	}
	return fmt.Sprintf("user-%d", client)
}

// roomsOf are the targets whose messages a client gets.
func (p plan) roomsOf(client int) []int {
	if p.scope == inboxes {
		return []int{client % p.rooms}
	}
	return []int{client % p.rooms, (client + 1) % p.rooms}
}

// publishesTo is where a client publishes; never to itself.
func (p plan) publishesTo(client int) int {
	if p.scope == inboxes {
		return (client + 1) % p.rooms
	}
	return client % p.rooms
}

// aimAt adds a target to a command.
func (s scope) aimAt(command map[string]any, room int) map[string]any {
	if s == inboxes {
		command["target_user_id"] = fmt.Sprintf("user-%d", room)
	} else {
		command["room_id"] = roomName(room)
	}
	return command
}

// logLife is the time to live of logs, and keyLife how long an idempotency key is remembered.
const (
	logLife = 10 * time.Minute
	keyLife = 5 * time.Minute
)

// clockJump is a jump forwards or backwards, of seconds or hours. A jump of Redis's clock that ends the memory of keys, and not that of
// logs, would have it take a message twice that is published again: that is left out, and docs/reliability.md says so.
func clockJump(r *rand.Rand) time.Duration {
	switch r.IntN(4) {
	case 0:
		return time.Duration(r.IntN(int(keyLife.Seconds())-60)) * time.Second
	case 1:
		return logLife + time.Duration(60+r.IntN(7200))*time.Second
	default:
		return -time.Duration(1+r.IntN(7200)) * time.Second
	}
}

// forgetsKeys tells whether a run's Redis may forget which keys it has seen.
func (p plan) forgetsKeys() bool {
	for _, f := range p.faults {
		if f.kind == redisKilled && !p.appendOnly || f.kind == redisFailed || f.kind == primaryKilled || f.kind == primaryStopped || f.kind == redisClock && f.jump > keyLife {
			return true
		}
	}
	return false
}
