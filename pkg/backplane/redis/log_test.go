package redis

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestLogContract(t *testing.T) {
	server := redistest.Start(t)
	backplanetest.RunLog(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: server.URL()}) })
}

// hour is a log that no test fills or outlives.
func hour() *backplane.Keep { return &backplane.Keep{Size: 10_000, TTL: time.Hour} }

func kept(target backplane.Target, body string) *backplane.Message {
	return &backplane.Message{Target: target, Body: []byte(body), Keep: hour()}
}

func mustKeep(t *testing.T, b *Backplane, m *backplane.Message) backplane.Receipt {
	t.Helper()
	o := backplanetest.Publish(t, b, m)
	if o.Err != nil {
		t.Fatalf("publish: %v", o.Err)
	}
	return o.Receipt
}

func readAll(t *testing.T, b *Backplane, target backplane.Target) backplane.Page {
	t.Helper()
	page, err := b.ReadLog(t.Context(), target, backplane.Cursor{Limit: 100_000})
	if err != nil {
		t.Fatalf("read the log: %v", err)
	}
	return page
}

func bodiesOf(page backplane.Page) (bodies []string) {
	for i := range page.Messages {
		bodies = append(bodies, string(page.Messages[i].Body))
	}
	return bodies
}

// admin returns a plain client of go-redis.
func admin(t testing.TB, addr string) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{Addr: addr, Protocol: 2, MaxRetries: -1, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// The same work on an embedded server, which the program offers where no Redis is installed. It has no replication.
func TestLogsWorkOnAnEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	b, sink := start(t, Options{URL: "redis://" + server.Addr()})
	target := room("embedded")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	for i := range 40 {
		m := &backplane.Message{Target: target, Body: fmt.Append(nil, i+1), Keep: &backplane.Keep{Size: 10, TTL: time.Minute}}
		if receipt := mustKeep(t, b, m); receipt.Offset != int64(i+1) {
			t.Fatalf("message %d got %+v", i, receipt)
		}
	}
	for range 2 {
		m := kept(target, "once")
		m.IdempotencyKey, m.ID = "k", []byte("m-1")
		if receipt := mustKeep(t, b, m); receipt.Offset != 41 {
			t.Errorf("a message with a key got %+v, want offset 41 twice", receipt)
		}
	}
	page := readAll(t, b, target)
	if got := bodiesOf(page); page.Newest != 41 || len(got) < 10 || got[len(got)-1] != "once" {
		t.Errorf("the log is %q up to %d, want the newest up to 41", got, page.Newest)
	}
	delivered := sink.AwaitBodies(target, 41)
	if len(delivered) != 41 {
		t.Errorf("%d messages were delivered, want 41", len(delivered))
	}
	server.FastForward(2 * time.Hour)
	if again := readAll(t, b, target); again.Epoch == page.Epoch || again.Newest != 0 {
		t.Errorf("after its TTL the log is %+v, want a new life", again)
	}
}

func TestCutLinksLoseDoubleOrReorderNothingThatIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	listener, sink := start(t, Options{URL: server.URL()})
	target := room("cut")
	listener.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	b, _ := start(t, Options{URL: "redis://" + proxy.Addr})

	const messages = 3000
	var outcomes []<-chan backplanetest.Outcome
	for i := range messages {
		m := kept(target, strconv.Itoa(i))
		if i%3 == 0 {
			m.IdempotencyKey, m.ID, m.Data = m.IdempotencyKey+strconv.Itoa(i), fmt.Append(nil, "m-", i), m.Body
		}
		outcomes = append(outcomes, backplanetest.PublishAsync(t, b, m))
		if i%300 == 150 {
			proxy.Cut()
		}
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for i, outcome := range outcomes {
		o := <-outcome
		if o.Err != nil {
			t.Fatalf("message %d ended with %v though every link came back in time", i, o.Err)
		}
		if o.Receipt.Offset != int64(i+1) || o.Receipt.MessageID != "" {
			t.Fatalf("message %d got %+v, want offset %d and to be the first", i, o.Receipt, i+1)
		}
	}
	var want []string
	for i := range messages {
		want = append(want, strconv.Itoa(i))
	}
	if got := bodiesOf(readAll(t, b, target)); !slices.Equal(got, want) {
		t.Errorf("the log holds %d messages, want each of %d once and in order", len(got), messages)
	}
	if got := sink.AwaitBodies(target, messages); !slices.Equal(got, want) {
		t.Errorf("%d messages were delivered, want each of %d once and in order", len(got), messages)
	}
}

// A Redis that hangs has taken commands that were given up meanwhile. When it goes on, it may carry them out before or after
// what is sent then, but never so that they come between or behind later ones.
func TestWhatAHangingRedisCarriesOutLateKeepsItsOrder(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b, sink := start(t, Options{URL: server.URL(), Timing: Timing{Publish: 400 * time.Millisecond, Dial: 200 * time.Millisecond}})
	target := room("hang")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	n, confirmed := 0, map[string]bool{}
	publish := func(count int) (failed int) {
		var outcomes []<-chan backplanetest.Outcome
		first := n
		for range count {
			outcomes = append(outcomes, backplanetest.PublishAsync(t, b, kept(target, strconv.Itoa(n))))
			n++
			time.Sleep(2 * time.Millisecond)
		}
		for i, outcome := range outcomes {
			if o := <-outcome; o.Err != nil {
				failed++
			} else {
				confirmed[strconv.Itoa(first+i)] = true
			}
		}
		return failed
	}
	for range 3 {
		publish(20)
		server.Pause()
		if failed := publish(50); failed == 0 {
			t.Error("nothing failed while Redis hung")
		}
		server.Resume()
		// Both what was given up and what comes now are on their way.
		publish(50)
		awaitUp(t, b)
		publish(20)
	}
	last, found := -1, 0
	for _, body := range bodiesOf(readAll(t, b, target)) {
		i, err := strconv.Atoi(body)
		if err != nil || i <= last {
			t.Fatalf("message %s is behind %d in the log", body, last)
		}
		last = i
		if confirmed[body] {
			found++
		}
	}
	if found != len(confirmed) || found < 100 {
		t.Errorf("%d of %d confirmed messages are in the log", found, len(confirmed))
	}
}

// What was given up, and reaches Redis after all behind what followed it, must not come any more.
func TestAnOvertakenAttemptIsNotAppended(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), Cluster: "c"})
	target := room("late")
	mustKeep(t, b, kept(target, "first"))

	l := b.dialer.open()
	defer l.close()
	if err := l.prepareLogs(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	attempt := func(sequence int64, body string) result {
		r := &logRequest{tag: "c:{r:late}", writer: b.writer, sequence: sequence, keep: hour()}
		carryOut(t, l.client, r, l.replicationID, body)
		got, err := r.result()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	early, late := b.writer.next(), b.writer.next()
	if got := attempt(late, "second"); got.verdict != appended || got.receipt.Offset != 2 {
		t.Errorf("the later message got %c %+v, want to be appended at 2", got.verdict, got.receipt)
	}
	if got := attempt(early, "overtaken"); got.verdict != superseded || got.receipt.Offset != 0 {
		t.Errorf("the overtaken one got %c %+v, want to be refused", got.verdict, got.receipt)
	}
	if got := attempt(late, "second"); got.verdict != superseded || got.receipt.Offset != 2 {
		t.Errorf("the second attempt got %c %+v, want the place of the first, 2", got.verdict, got.receipt)
	}
	if got, want := bodiesOf(readAll(t, b, target)), []string{"first", "second"}; !slices.Equal(got, want) {
		t.Errorf("the log is %q, want %q", got, want)
	}
}

func TestScriptsThatRedisForgotComeAgain(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	target := room("flush")
	mustKeep(t, b, kept(target, "one"))
	readAll(t, b, target)
	if err := admin(t, server.Addr).ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if receipt := mustKeep(t, b, kept(target, "two")); receipt.Offset != 2 {
		t.Errorf("the message after SCRIPT FLUSH got %+v, want offset 2", receipt)
	}
	if got := bodiesOf(readAll(t, b, target)); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("the log is %q", got)
	}
}

func TestAFullRedisRefusesWhatIsKeptAndPassesOnTheRest(t *testing.T) {
	server := redistest.Start(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
	b, _ := start(t, Options{URL: server.URL()})
	o := backplanetest.Publish(t, b, kept(room("full"), "x"))
	if !errors.Is(o.Err, backplane.ErrUnavailable) || !strings.Contains(o.Err.Error(), "OOM") {
		t.Errorf("a kept message ended with %v, want ErrUnavailable and Redis's reason", o.Err)
	}
	backplanetest.MustPublish(t, b, text(room("full"), "x"))
	if got := b.Status(); !got.Up || got.Reconnects != 0 {
		t.Errorf("status is %+v, want up: the link is fine", got)
	}
}

func TestAUserWithoutTheRightsOfHistoryMayStillPassMessagesOn(t *testing.T) {
	server := redistest.Start(t, "--user", "gateway", "on", ">pass", "resetchannels",
		"~c:*", "&c:*", "-@all", "+publish", "+subscribe", "+unsubscribe", "+ping")
	b, _ := start(t, Options{URL: "redis://gateway:pass@" + server.Addr, Cluster: "c"})
	var outcomes []<-chan backplanetest.Outcome
	for range 3 {
		outcomes = append(outcomes,
			backplanetest.PublishAsync(t, b, kept(room("a"), "kept")), backplanetest.PublishAsync(t, b, text(room("a"), "plain")))
	}
	for i, outcome := range outcomes {
		o := <-outcome
		if refused := i%2 == 0; refused && (o.Err == nil || !strings.Contains(o.Err.Error(), "NOPERM")) || !refused && o.Err != nil {
			t.Errorf("publication %d ended with %v", i, o.Err)
		}
	}
	if _, err := b.ReadLog(t.Context(), room("a"), backplane.Cursor{}); !errors.Is(err, backplane.ErrUnavailable) {
		t.Errorf("reading without the right ended with %v, want ErrUnavailable", err)
	}
}

func TestAUserWithTheRightsOfHistoryNeedsNoMore(t *testing.T) {
	server := redistest.Start(t, append([]string{"--user", "gateway", "on", ">pass", "resetchannels", "~c:*", "&c:*", "-@all"}, historyRights...)...)
	b, sink := start(t, Options{URL: "redis://gateway:pass@" + server.Addr, Cluster: "c"})
	target := room("a")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	keep := &backplane.Keep{Size: 1, TTL: time.Hour, MaxBytes: 100}
	for i := range 20 {
		m := kept(target, strconv.Itoa(i))
		m.IdempotencyKey = strconv.Itoa(i)
		if i > 10 {
			m.Keep = keep
		}
		mustKeep(t, b, m)
	}
	// 64 fields of meta make the script look for writers to forget.
	for i := range 70 {
		b.writer = newWriter()
		mustKeep(t, b, kept(target, strconv.Itoa(i)))
	}
	unkept := text(target, "x")
	unkept.IdempotencyKey = "other"
	backplanetest.MustPublish(t, b, unkept)
	readAll(t, b, target)
	sink.AwaitBodies(target, 91)
}

// A retry finds its first attempt by what Redis knows of its writer.
func TestAGatewayWhoseClockIsAheadHasNoOtherForgotten(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), Cluster: "c"})
	target := room("a")
	known := func() int64 {
		n, err := admin(t, server.Addr).HLen(t.Context(), "c:{r:a}:meta").Result()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := 0; i == 0 || known()%64 != 63; i++ {
		b.writer = newWriter()
		mustKeep(t, b, kept(target, strconv.Itoa(i)))
	}
	before := known()
	b.writer = newWriter()
	b.writer.last.Store(time.Now().Add(time.Hour).UnixMilli() << 10)
	mustKeep(t, b, kept(target, "from the future"))
	if after := known(); after != before+1 {
		t.Errorf("Redis knew of %d fields and now of %d, want one more: nobody was silent for ten minutes", before, after)
	}
	// It is one that was silent for ten minutes that is forgotten.
	old := newWriter()
	if err := admin(t, server.Addr).HSet(t.Context(), "c:{r:a}:meta", "w:"+old.id, time.Now().Add(-11*time.Minute).UnixMilli()<<10).Err(); err != nil {
		t.Fatal(err)
	}
	for known()%64 != 63 {
		b.writer = newWriter()
		mustKeep(t, b, kept(target, "more"))
	}
	b.writer = newWriter()
	mustKeep(t, b, kept(target, "the last"))
	if admin(t, server.Addr).HExists(t.Context(), "c:{r:a}:meta", "w:"+old.id).Val() {
		t.Error("a writer that was silent for 11 minutes is still known")
	}
}

// historyRights are the commands that everything in this package needs; the operator's ACL follows them.
var historyRights = []string{
	"+publish", "+subscribe", "+unsubscribe", "+ping", "+evalsha", "+script|load", "+info", "+wait", "+get", "+set", "+del", "+pexpire",
	"+rpush", "+ltrim", "+lpop", "+llen", "+lrange", "+hset", "+hmget", "+hlen", "+hgetall", "+hdel", "+time",
}

func TestNoKeyLivesForever(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), Cluster: "c"})
	m := kept(room("a"), "x")
	m.IdempotencyKey = "k"
	mustKeep(t, b, m)
	m.Keep, m.Target = nil, room("b")
	backplanetest.MustPublish(t, b, m)
	readAll(t, b, room("read only"))
	client := admin(t, server.Addr)
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 5 {
		t.Fatalf("keys are %q, %v, want 5", keys, err)
	}
	for _, key := range keys {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s lives for %v", key, ttl)
		}
		if !strings.HasPrefix(key, "c:{r:") {
			t.Errorf("%s has not the prefix of its room", key)
		}
	}
}

func TestBytesAreThoseOfBodiesWhateverIsExcluded(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL()})
	for _, exclude := range []string{"", "c-1", strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 255)} {
		target := room("excluding " + strconv.Itoa(len(exclude)))
		m := &backplane.Message{
			Target: target, Exclude: exclude, Body: []byte(strings.Repeat("b", 100)), Keep: &backplane.Keep{Size: 100, TTL: time.Hour, MaxBytes: 1000},
		}
		for range 25 {
			mustKeep(t, b, m)
		}
		if page := readAll(t, b, target); len(page.Messages) != 10 || page.Oldest != 16 {
			t.Errorf("with an exclude of %d bytes the log holds %d messages from %d, want 10 from 16", len(exclude), len(page.Messages), page.Oldest)
		}
		// The bound is lifted, and set again.
		m.Keep = hour()
		mustKeep(t, b, m)
		mustKeep(t, b, m)
		m.Keep = &backplane.Keep{Size: 100, TTL: time.Hour, MaxBytes: 500}
		mustKeep(t, b, m)
		if page := readAll(t, b, target); len(page.Messages) != 5 || page.Newest != 28 {
			t.Errorf("with an exclude of %d bytes and half the bound the log holds %d messages up to %d, want 5 up to 28", len(exclude), len(page.Messages), page.Newest)
		}
	}
}

func TestALogWithoutItsMetaIsNotTakenOver(t *testing.T) {
	server := redistest.Start(t)
	b, _ := start(t, Options{URL: server.URL(), Cluster: "c"})
	target := room("torn")
	for range 5 {
		mustKeep(t, b, kept(target, "old"))
	}
	if err := admin(t, server.Addr).Del(t.Context(), "c:{r:torn}:meta").Err(); err != nil {
		t.Fatal(err)
	}
	if receipt := mustKeep(t, b, kept(target, "new")); receipt.Offset != 1 {
		t.Errorf("the next message got %+v, want offset 1 of a new epoch", receipt)
	}
	if page := readAll(t, b, target); page.Oldest != 1 || !slices.Equal(bodiesOf(page), []string{"new"}) {
		t.Errorf("the log is %q from %d, want only what the new epoch knows", bodiesOf(page), page.Oldest)
	}
}

func TestWritersThatAreGoneAreForgotten(t *testing.T) {
	server := redistest.Start(t)
	client := admin(t, server.Addr)
	for i := range 200 {
		// Each message comes from another process, the earlier ones from hours ago.
		sequence := time.Now().Add(-time.Duration(200-i)*time.Minute).UnixMilli() << 10
		mustAppend(t, client, &logRequest{tag: "c:{r:a}", writer: newWriter(), sequence: sequence, keep: hour()})
	}
	fields := client.HLen(t.Context(), "c:{r:a}:meta").Val()
	if fields > 80 {
		t.Errorf("meta has %d fields after 200 writers, want at most 64 and a few", fields)
	}
}

// mustAppend carries a request out on a client of its own.
func mustAppend(t *testing.T, client *goredis.Client, r *logRequest) {
	t.Helper()
	for _, script := range []*goredis.Script{appendScript, readScript} {
		if err := script.Load(t.Context(), client).Err(); err != nil {
			t.Fatal(err)
		}
	}
	id, err := readReplicationID(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, client, r, id, "x")
}

// carryOut sends a request over another client than the publisher's.
func carryOut(t *testing.T, client *goredis.Client, r *logRequest, replicationID, body string) {
	t.Helper()
	args := r.command("PUBLISH", replicationID, []byte(r.tag+":ch"), appendEnvelope(nil, "", []byte(body)))
	var err error
	if r.reply, err = client.Do(t.Context(), args...).Result(); err != nil {
		t.Fatal(err)
	}
}

func TestRepliesThatAreNoneOfOursAreRefused(t *testing.T) {
	for _, reply := range []string{"", "A", "A e", "A e x", "A e -1", "A  1", "D e 1", "X e 1", "AA e 1", "C e 1", "S e 1 m"} {
		if got, err := parseResult(reply); err == nil {
			t.Errorf("%q is read as %+v", reply, got)
		}
	}
	for _, reply := range []any{nil, "page", []any{}, []any{"e", int64(1), int64(1), "", int64(0), "1"}, []any{"e", int64(1), int64(1), "", int64(0), int64(1), int64(2)},
		[]any{"e", int64(1), int64(1), "", int64(0), int64(1), "no envelope"}, []any{int64(0), int64(1), int64(1), "", int64(0), int64(1)}} {
		if got, err := parsePage(reply, false); !errors.Is(err, backplane.ErrUnavailable) {
			t.Errorf("%v is read as %+v, %v", reply, got, err)
		}
	}
}
