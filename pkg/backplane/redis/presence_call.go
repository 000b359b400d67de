package redis

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
)

var (
	//go:embed lua/roster.lua
	rosterLua string
	//go:embed lua/clock.lua
	clockLua string
	//go:embed lua/assert.lua
	assertLua string
	//go:embed lua/refresh.lua
	refreshLua string
	//go:embed lua/depart.lua
	departLua string
	//go:embed lua/members.lua
	membersLua string

	assertScript  = goredis.NewScript(rosterLua + clockLua + assertLua)
	refreshScript = goredis.NewScript(clockLua + refreshLua)
	departScript  = goredis.NewScript(rosterLua + clockLua + departLua)
	membersScript = goredis.NewScript(clockLua + membersLua)

	presenceScripts = []*goredis.Script{assertScript, refreshScript, departScript, membersScript}
)

// call is a script to be run for a target. It travels as publications do, and may be sent more than once: it says what is, not what
// has changed. It is its own confirmation.
type call struct {
	tag    string // what the target's names begin with
	script *goredis.Script
	keys   []string
	args   []any
	// reply is what the script answered; ended is called once. It must not block.
	reply any
	ended func(reply any, err error)
}

// Published implements backplane.Confirmation.
func (c *call) Published(_ backplane.Receipt, err error) { c.ended(c.reply, err) }

// command returns the call as arguments of a command.
func (c *call) command() []any {
	args := append(make([]any, 0, 3+len(c.keys)+len(c.args)), "EVALSHA", c.script.Hash(), len(c.keys))
	for _, key := range c.keys {
		args = append(args, key)
	}
	return append(args, c.args...)
}

// awaitAnswer has start begin something that ends with one answer, and waits for that, at most until ctx ends: the error then wraps
// ErrUnavailable. Where ctx has ended already nothing is begun.
func awaitAnswer[T any](ctx context.Context, start func(ended func(T, error))) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if ctx.Err() != nil {
		return none, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
	answered := make(chan answer, 1)
	start(func(value T, err error) { answered <- answer{value, err} })
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", backplane.ErrUnavailable, context.Cause(ctx))
	}
}

// call sends c over the link in that lane to the shard of its target.
func (b *Backplane) call(to lane, c *call) {
	p := blankPublication()
	p.buf = append(p.buf, c.tag...)
	p.split = len(p.buf)
	p.slot = b.names.slot(p.buf)
	p.log = &logRequest{tag: c.tag, writer: b.writer, call: c}
	b.enqueue(to, p, c)
}

// publisherOf returns the lane of a target, whose names begin with tag: one and the same for all its calls.
func (b *Backplane) publisherOf(tag string) lane {
	return lane(b.names.spread([]byte(tag), b.dialer.options.Publishers))
}

// changesHead begins the envelope of changes.
var changesHead = []byte{plainVersion, flagChanges}

func presenceKeys(tag string, nodes ...string) []string {
	keys := []string{tag + ":here", tag + ":more", tag + ":nodes", tag + ":state"}
	for _, node := range nodes {
		keys = append(keys, tag+":at:"+node)
	}
	return keys
}

// assertion is the reply of assert.lua.
type assertion struct {
	sequence   int64
	generation string
	// users are all in the room, ours those of this node.
	users, ours int
}

// assert tells Redis of members.
func (r *presenceRoom) assert(batch []telling) *call {
	p := r.presence
	sequence, covers := p.backplane.writer.next(), uint64(0)
	if len(r.came)+len(r.left) == 0 {
		covers = r.version
	}
	nodes, kind := []string{r.node}, "came"
	if r.former != "" {
		nodes = append(nodes, r.former)
	}
	if batch[0].wanted == 0 {
		kind = "left"
	}
	args := make([]any, 0, 12+3*len(batch))
	args = append(args, r.tag+channelSuffix, p.backplane.names.publish, r.node, sequence, r.sequence, r.generation, strconv.FormatInt(sequence, 36),
		p.lease.Milliseconds(), changesHead, r.former, kind, unusedLife.Milliseconds())
	for _, t := range batch {
		was := 0
		if t.member.told > 0 {
			was = 1
		}
		args = append(args, t.member.user, t.wanted, was)
	}
	c := &call{tag: r.tag, script: assertScript, keys: presenceKeys(r.tag, nodes...), args: args}
	c.ended = func(reply any, err error) {
		var a assertion
		text, _ := reply.(string)
		gone := text == "G"
		if err == nil && !gone {
			a, err = parseAssertion(text)
			a.sequence = sequence
		}
		p.replied(r, batch, err, func(now time.Time) {
			if gone {
				r.lost(batch)
				return
			}
			r.asserted(batch, a, covers, now)
		})
	}
	return c
}

func parseAssertion(reply string) (a assertion, err error) {
	fields := strings.Split(reply, " ")
	if len(fields) == 4 && fields[0] == "K" {
		users, err1 := strconv.Atoi(fields[2])
		ours, err2 := strconv.Atoi(fields[3])
		if err1 == nil && err2 == nil {
			return assertion{generation: fields[1], users: users, ours: ours}, nil
		}
	}
	return a, fmt.Errorf("%w: assert.lua answered %q", backplane.ErrUnavailable, reply)
}

// refresh renews the lease of this node.
func (r *presenceRoom) refresh() *call {
	p := r.presence
	c := &call{tag: r.tag, script: refreshScript, keys: presenceKeys(r.tag, r.node), args: []any{
		r.node, r.sequence, p.lease.Milliseconds(), unusedLife.Milliseconds(),
	}}
	c.ended = func(reply any, err error) {
		text, _ := reply.(string)
		fields := strings.Split(text, " ")
		if err == nil && fields[0] != "K" && fields[0] != "G" {
			err = fmt.Errorf("%w: refresh.lua answered %q", backplane.ErrUnavailable, text)
		}
		p.replied(r, nil, err, func(now time.Time) {
			if fields[0] == "G" {
				r.lost(nil)
				return
			}
			r.refreshed(fields[1:], now)
		})
	}
	return c
}

// depart takes users of another node, or of a former name of this one, out of the room.
func (r *presenceRoom) depart(node string, own bool) *call {
	p, force := r.presence, ""
	if own {
		force = "force"
	}
	c := &call{tag: r.tag, script: departScript, keys: presenceKeys(r.tag, node), args: []any{
		r.tag + channelSuffix, p.backplane.names.publish, node, usersInCall, force, unusedLife.Milliseconds(), changesHead,
	}}
	c.ended = func(reply any, err error) {
		text, _ := reply.(string)
		if err == nil && text != "D" && text != "M" {
			err = fmt.Errorf("%w: depart.lua answered %q", backplane.ErrUnavailable, text)
		}
		p.replied(r, nil, err, func(time.Time) { r.departed(node, text == "M") })
	}
	return c
}

// listCall asks for a page of the users in a room.
func listCall(tag, after string, limit int, done func(backplane.Roster, error)) *call {
	begin := "-"
	if after != "" {
		begin = "[" + after + "\x00" // the next after it; "(" + after means something else to miniredis where after is + or -
	}
	c := &call{tag: tag, script: membersScript, keys: presenceKeys(tag)[:3], args: []any{begin, limit + 1}}
	c.ended = func(reply any, err error) {
		if err != nil {
			done(backplane.Roster{}, err)
			return
		}
		done(parseRoster(reply, limit))
	}
	return c
}

// parseRoster reads the reply of members.lua, which was asked for one user more than limit.
func parseRoster(value any, limit int) (backplane.Roster, error) {
	broken := fmt.Errorf("%w: members.lua answered something else than members", backplane.ErrUnavailable)
	reply, ok := value.([]any)
	if !ok || len(reply)%2 != 1 {
		return backplane.Roster{}, broken
	}
	users, ok := reply[0].(int64)
	if !ok {
		return backplane.Roster{}, broken
	}
	roster := backplane.Roster{Users: int(users)}
	for pair := range slices.Chunk(reply[1:], 2) {
		user, isText := pair[0].(string)
		connections, isNumber := pair[1].(int64)
		if !isText || !isNumber {
			return backplane.Roster{}, broken
		}
		if len(roster.Members) == limit {
			roster.More = true
			break
		}
		roster.Members = append(roster.Members, backplane.Member{User: user, Connections: int(connections)})
	}
	return roster, nil
}

// parseChanges reads what lua/roster.lua makes: <connections>:<length of the id>:<id> for each user. The result is a copy.
func parseChanges(text string) ([]backplane.Member, error) {
	var changes []backplane.Member
	for text != "" {
		connections, rest, ok := cutNumber(text)
		if !ok {
			return nil, errEnvelopeBroken
		}
		length, rest, ok := cutNumber(rest)
		if !ok || length == 0 || length > len(rest) {
			return nil, errEnvelopeBroken
		}
		changes = append(changes, backplane.Member{User: strings.Clone(rest[:length]), Connections: connections})
		text = rest[length:]
	}
	return changes, nil
}

// cutNumber reads a number and the colon behind it.
func cutNumber(text string) (n int, rest string, ok bool) {
	colon := strings.IndexByte(text[:min(len(text), 12)], ':')
	if colon < 0 {
		return 0, "", false
	}
	n, err := strconv.Atoi(text[:colon])
	return n, text[colon+1:], err == nil && n >= 0
}
