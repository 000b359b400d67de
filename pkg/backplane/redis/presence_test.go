package redis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/faultproxy"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestPresenceContract(t *testing.T) {
	server := redistest.Start(t)
	for _, publishers := range []int{1, 3} {
		t.Run(fmt.Sprint(publishers, " publishers"), func(t *testing.T) {
			backplanetest.RunPresence(t, func(t *testing.T) backplane.Backplane {
				return open(t, Options{URL: server.URL(), Publishers: publishers})
			})
		})
	}
}

// The same on the embedded server, which the program offers where no Redis is installed.
func TestPresenceContractOnAnEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	backplanetest.RunPresence(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: "redis://" + server.Addr()}) })
}

// shortLease makes a node that is away missed within 1.4 s.
const shortLease = time.Second

func shortLived(url string) Options { return Options{URL: url, Timing: Timing{Lease: shortLease}} }

// watch subscribes to a room and returns the sink that hears of its changes.
func watch(t *testing.T, url string, target backplane.Target) (*Backplane, *backplanetest.Sink) {
	t.Helper()
	b, sink := start(t, shortLived(url))
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	return b, sink
}

func wantChanges(t *testing.T, sink *backplanetest.Sink, target backplane.Target, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, sink.AwaitChanges(target, len(want))); diff != "" {
		t.Fatalf("the changes (-want +got):\n%s", diff)
	}
}

func TestAUserOnSeveralNodesIsOneUser(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	b, _ := start(t, shortLived(server.URL()))
	a.Enter(target, "alice")
	backplanetest.AwaitMembers(t, a, target, "alice=1")
	b.Enter(target, "alice")
	b.Enter(target, "alice")
	b.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=3 bob=1")
	a.Leave(target, "alice")
	backplanetest.AwaitMembers(t, b, target, "alice=2 bob=1")
	b.Leave(target, "alice")
	b.Leave(target, "alice")
	backplanetest.AwaitMembers(t, a, target, "bob=1")
	wantChanges(t, sink, target, "alice=1", "bob=1", "alice=0")
	b.Leave(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "")
	if left := admin(t, server.Addr).Keys(t.Context(), "*").Val(); len(left) != 0 {
		t.Errorf("an empty room leaves the keys %q", left)
	}
}

func TestALeaseIsKeptForAsLongAsTheNodeLives(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	b, _ := start(t, shortLived(server.URL()))
	a.Enter(target, "alice")
	b.Enter(target, "bob")
	for end := time.Now().Add(4 * shortLease); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if page, err := b.Members(t.Context(), target, "", 10); err != nil || page.Users != 2 {
			t.Fatalf("the members are %+v (%v), want both all the time", page, err)
		}
	}
	if got := sink.AwaitChanges(target, 2); len(got) != 2 {
		t.Errorf("the changes are %q, want only that both came", got)
	}
	if status := a.PresenceStatus(); status.Reasserted != 0 {
		t.Errorf("members were told anew though nothing was lost: %+v", status)
	}
}

func TestANodeThatIsCutOffTakesItsMembersAlongAndBringsThemBack(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	proxy := faultproxy.Start(t, server.Addr)
	b, _ := start(t, shortLived("redis://"+proxy.Addr))
	a.Enter(target, "alice")
	a.Enter(target, "carol")
	for i := range 500 {
		b.Enter(target, fmt.Sprintf("guest-%03d", i))
	}
	b.Enter(target, "alice")
	if page, err := b.Members(t.Context(), target, "", 10); err != nil || page.Users != 502 {
		t.Fatalf("the members are %+v (%v), want 502", page, err)
	}
	sink.AwaitChanges(target, 502)
	proxy.Refuse()
	cut := time.Now()
	backplanetest.AwaitMembers(t, a, target, "alice=1 carol=1")
	if took := time.Since(cut); took < shortLease/2 || took > 2*shortLease+time.Second {
		t.Errorf("the members of a node that is cut off went after %v, want about %v", took, shortLease)
	}
	changes := sink.AwaitChanges(target, 1002)[502:]
	if len(changes) != 500 || slices.ContainsFunc(changes, func(c string) bool { return !strings.HasPrefix(c, "guest-") || !strings.HasSuffix(c, "=0") }) {
		t.Fatalf("the changes after the cut are %q, want that each guest left, once", changes)
	}

	// While it is away, some come and some go.
	b.Leave(target, "guest-000")
	b.Enter(target, "guest-500")
	proxy.Restore()
	deadline := time.Now().Add(10 * time.Second)
	for {
		page, err := a.Members(t.Context(), target, "", 1000)
		if err == nil && page.Users == 502 && page.Members[0] == (backplane.Member{User: "alice", Connections: 2}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("when the node is back %d users are there (%v), want 502 and alice twice", page.Users, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	changes = sink.AwaitChanges(target, 1502)[1002:]
	if len(changes) != 500 || slices.ContainsFunc(changes, func(c string) bool { return c == "guest-000=1" || !strings.HasSuffix(c, "=1") }) {
		t.Errorf("the changes after the node is back are %q, want that 500 came, without the one who left meanwhile", changes)
	}
	if status := b.PresenceStatus(); status.Reasserted == 0 || status.Members != 501 {
		t.Errorf("the status is %+v, want 501 members, and that the room was told anew", status)
	}
}

func TestWhatRedisHasLostIsToldAnewWithoutSayingThatAnybodyCame(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	b, _ := start(t, shortLived(server.URL()))
	for _, u := range []string{"alice", "dora"} {
		a.Enter(target, u)
	}
	b.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1 dora=1")
	server.Kill()
	a.Leave(target, "dora")
	b.Enter(target, "carol")
	server.Restart()
	backplanetest.AwaitMembers(t, b, target, "alice=1 bob=1 carol=1")
	sink.AwaitSubscribed(target, 2)
	// The subscription may have come back after the news of dora and carol, but nobody else may be told of again.
	a.Enter(target, "erin")
	backplanetest.AwaitMembers(t, b, target, "alice=1 bob=1 carol=1 erin=1")
	deadline := time.Now().Add(5 * time.Second)
	for !slices.Contains(sink.Changes(target), "erin=1") {
		if time.Now().After(deadline) {
			t.Fatalf("the changes are %q, want erin", sink.Changes(target))
		}
		time.Sleep(time.Millisecond)
	}
	for _, change := range sink.Changes(target)[3:] {
		if change != "dora=0" && change != "carol=1" && change != "erin=1" {
			t.Errorf("after the loss it was told that %s", change)
		}
	}
}

func TestANodeThatRedisForgotUnnoticedTellsAnew(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	a.Enter(target, "alice")
	backplanetest.AwaitMembers(t, a, target, "alice=1")
	if err := admin(t, server.Addr).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	backplanetest.AwaitMembers(t, a, target, "alice=1")
	a.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1")
	wantChanges(t, sink, target, "alice=1", "bob=1")
}

// A promoted replica may lack the newest changes: both who came and who left.
func TestWhatAFailoverTookBackIsMadeGood(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	const others = 900 // behind the few that are looked at
	for i := range others {
		a.Enter(target, fmt.Sprintf("other-%03d", i))
	}
	for _, u := range []string{"alice", "bob", "carol"} {
		a.Enter(target, u)
	}
	few := func() string {
		t.Helper()
		page, err := a.Members(t.Context(), target, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, m := range page.Members {
			if strings.HasPrefix(m.User, "other-") && m.Connections == 1 {
				continue
			}
			list = append(list, fmt.Sprintf("%s=%d", m.User, m.Connections))
		}
		return strings.Join(list, " ")
	}
	if got := few(); got != "alice=1 bob=1 carol=1" {
		t.Fatalf("the members are %s", got)
	}
	client := admin(t, server.Addr)
	before := map[string]string{}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		before[key] = client.Dump(t.Context(), key).Val()
	}
	a.Leave(target, "bob")
	a.Enter(target, "dora")
	a.Enter(target, "carol")
	if got := few(); got != "alice=1 carol=2 dora=1" {
		t.Fatalf("the members are %s", got)
	}
	pipe := client.TxPipeline()
	pipe.FlushAll(t.Context())
	for key, dump := range before {
		pipe.RestoreReplace(t.Context(), key, shortLease, dump)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := few(); got != "alice=1 bob=1 carol=1" {
		t.Fatalf("the members are %s, want the old ones for this test to be one", got)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := few()
		if got == "alice=1 carol=2 dora=1" {
			break
		}
		if strings.Contains(got, "other") || time.Now().After(deadline) {
			t.Fatalf("the members are %s, want carol twice, all others once, and no bob", got)
		}
	}
	if changes := sink.AwaitChanges(target, others+7); slices.ContainsFunc(changes[others+3:], func(c string) bool { return strings.HasPrefix(c, "other") }) {
		t.Errorf("of users whom the rollback did not touch it was told too: %q", changes[others+3:])
	}
}

func TestALateCommandOfALinkThatWasGivenUpChangesNothing(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	stop := server.Monitor()
	a.Enter(target, "alice")
	backplanetest.AwaitMembers(t, a, target, "alice=1")
	a.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1")
	a.Leave(target, "alice")
	backplanetest.AwaitMembers(t, a, target, "bob=1")
	// What was sent first comes once more, as from a socket that Redis gets to late.
	var first []any
	for _, line := range stop() {
		if strings.Contains(line, assertScript.Hash()) {
			for arg := range strings.SplitSeq(line, `" "`) {
				first = append(first, monitored(arg))
			}
			break
		}
	}
	if len(first) < 15 {
		t.Fatalf("the first command is %q", first)
	}
	first[0] = "EVALSHA"
	reply, err := admin(t, server.Addr).Do(t.Context(), first...).Text()
	if err != nil || !strings.HasPrefix(reply, "K ") {
		t.Fatalf("the late command got %q, %v", reply, err)
	}
	if page, err := a.Members(t.Context(), target, "", 10); err != nil || len(page.Members) != 1 || page.Members[0].User != "bob" {
		t.Errorf("after the late command the members are %+v (%v), want bob", page, err)
	}
	a.Enter(target, "carol")
	wantChanges(t, sink, target, "alice=1", "bob=1", "alice=0", "carol=1")
	if status := a.PresenceStatus(); status.Reasserted != 0 {
		t.Errorf("the status is %+v, want nothing told anew", status)
	}
}

// All nodes stood still for a while, as those of a machine that slept do: none takes the others out.
func TestANodeWhoseOwnLeaseHasEndedDoesNotJudgeOthers(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	b, _ := start(t, shortLived(server.URL()))
	a.Enter(target, "alice")
	b.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1")
	client := admin(t, server.Addr)
	for range 3 {
		pipe := client.TxPipeline()
		for _, node := range client.ZRange(t.Context(), "test:{r:lobby}:nodes", 0, -1).Val() {
			pipe.ZAdd(t.Context(), "test:{r:lobby}:nodes", goredis.Z{Score: 1, Member: node})
		}
		if commands, err := pipe.Exec(t.Context()); err != nil || len(commands) != 2 {
			t.Fatalf("end the leases of %d nodes: %v", len(commands), err)
		}
		time.Sleep(shortLease)
	}
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1")
	if got := sink.AwaitChanges(target, 2); len(got) != 2 {
		t.Errorf("the changes are %q, want only that both came", got)
	}
}

// Another node has begun to take a node's members out when that one turns out to be alive.
func TestANodeThatComesBackWhileItIsTakenOutTellsAnew(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, _ := watch(t, server.URL(), target)
	for i := range 500 {
		a.Enter(target, fmt.Sprint("user-", i))
	}
	if page, err := a.Members(t.Context(), target, "", 1); err != nil || page.Users != 500 {
		t.Fatalf("the members are %+v (%v)", page, err)
	}
	client := admin(t, server.Addr)
	node := client.ZRange(t.Context(), "test:{r:lobby}:nodes", 0, -1).Val()[0]
	keys := presenceKeys("test:{r:lobby}", node)
	reply, err := departScript.Run(t.Context(), client, keys, "test:{r:lobby}:ch", "PUBLISH", node, 200, "force", 10_000, changesHead).Text()
	if err != nil || reply != "M" {
		t.Fatalf("a first step got %q, %v, want that there is more", reply, err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		page, err := a.Members(t.Context(), target, "", 1000)
		if err == nil && page.Users == 500 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d users are there (%v), want all 500 again", page.Users, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// monitored undoes the escapes of MONITOR that occur here.
func monitored(arg string) string {
	arg = strings.TrimSuffix(arg, `"`)
	return strings.NewReplacer(`\x01`, "\x01", `\x02`, "\x02").Replace(arg)
}

func TestAClosingNodeTakesItsMembersAlongAtOnce(t *testing.T) {
	server := redistest.Start(t)
	watcher, sink := start(t, Options{URL: server.URL()})
	rooms := []backplane.Target{room("one"), room("two")}
	b := open(t, Options{URL: server.URL()})
	b.Start(backplanetest.NewSink(t))
	for _, target := range rooms {
		watcher.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
		for i := range 450 {
			b.Enter(target, fmt.Sprint(i))
		}
	}
	for _, target := range rooms {
		sink.AwaitChanges(target, 450)
	}
	closeNow(b)
	for _, target := range rooms {
		if page, err := watcher.Members(t.Context(), target, "", 10); err != nil || page.Users != 0 {
			t.Errorf("after the node was closed %d users are in %v (%v)", page.Users, target, err)
		}
		if got := sink.AwaitChanges(target, 900); len(got) != 900 {
			t.Errorf("%d changes, want 900", len(got))
		}
	}
}

func TestNothingIsListedAndNothingStaysWhereNoNodeLives(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	proxy := faultproxy.Start(t, server.Addr)
	reader, _ := start(t, shortLived(server.URL()))
	b, _ := start(t, shortLived("redis://"+proxy.Addr))
	b.Enter(target, "alice")
	b.Enter(target, "alice")
	backplanetest.AwaitMembers(t, reader, target, "alice=2")
	client := admin(t, server.Addr)
	proxy.Refuse()
	backplanetest.AwaitMembers(t, reader, target, "")
	keys := client.Keys(t.Context(), "*").Val()
	if len(keys) != 5 || slices.ContainsFunc(keys, func(k string) bool { return !strings.HasPrefix(k, "test:{r:lobby}:") }) {
		t.Errorf("the keys are %q, want five of the room's", keys)
	}
	for _, key := range keys {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > 2*unusedLife {
			t.Errorf("%s expires in %v, want within %v", key, ttl, 2*unusedLife)
		}
	}
	// Who comes then finds nobody for long.
	reader.Enter(target, "bob")
	backplanetest.AwaitMembers(t, reader, target, "bob=1")
}

// The store was away for longer than a lease, and kept everything: nobody has left.
func TestAnOutageLongerThanALeaseSendsNobodyAway(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	b, _ := start(t, shortLived(server.URL()))
	c, _ := start(t, shortLived(server.URL()))
	for i, plane := range []*Backplane{a, b, c} {
		plane.Enter(target, fmt.Sprint("user-", i))
	}
	backplanetest.AwaitMembers(t, a, target, "user-0=1 user-1=1 user-2=1")
	sink.AwaitChanges(target, 3)
	server.Pause()
	time.Sleep(3 * shortLease)
	server.Resume()
	backplanetest.AwaitMembers(t, a, target, "user-0=1 user-1=1 user-2=1")
	time.Sleep(2 * shortLease)
	// The subscription may have been made anew: go on until something comes, which proves that nothing came before it.
	for i := 0; len(sink.Changes(target)) == 3; i++ {
		if i == 100 {
			t.Fatal("nothing is told any more")
		}
		a.Enter(target, fmt.Sprint("last-", i))
		time.Sleep(100 * time.Millisecond)
	}
	for _, change := range sink.Changes(target)[3:] {
		if !strings.Contains(change, "last") {
			t.Errorf("after the outage it was told that %s", change)
		}
	}
}

func TestPresenceTakesFewCommands(t *testing.T) {
	server, target := redistest.Start(t), room("hall")
	a, sink := watch(t, server.URL(), target)
	const users = 5000
	stop := server.Monitor()
	for i := range users {
		a.Enter(target, fmt.Sprint("user-", i))
	}
	sink.AwaitChanges(target, users)
	time.Sleep(2 * shortLease)
	commands := map[string]int{}
	for _, line := range stop() {
		if strings.Contains(line, " lua] ") {
			continue
		}
		for name, script := range map[string]string{"assert": assertScript.Hash(), "refresh": refreshScript.Hash()} {
			if strings.Contains(line, script) {
				commands[name]++
			}
		}
	}
	// Told in groups of up to 200, of which the first few are small.
	if n := commands["assert"]; n < users/usersInCall || n > 3*users/usersInCall {
		t.Errorf("%d commands told of %d users, want about %d", n, users, users/usersInCall)
	}
	// One every 0.35 s, whoever is there.
	if n := commands["refresh"]; n < 4 || n > 12 {
		t.Errorf("%d commands renewed the lease of one room in %v, want about 6", n, 2*shortLease)
	}
}

func TestALargeRoomIsToldInGroupsWithoutAPause(t *testing.T) {
	server, target := redistest.Start(t), room("hall")
	a, sink := watch(t, server.URL(), target)
	const users = 30_000
	for i := range users {
		a.Enter(target, fmt.Sprint("user-", i))
	}
	begin := time.Now()
	sink.AwaitChanges(target, users)
	// Groups of 200 with the pause of a room of 15,000, the mean, in between would take 11 s.
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("it took %v to tell of %d users", took, users)
	}
	// One who comes now waits for others, but not for long.
	stop := server.Monitor()
	begin = time.Now()
	for i := range 100 {
		a.Enter(target, fmt.Sprint("late-", i))
		time.Sleep(2 * time.Millisecond)
	}
	sink.AwaitChanges(target, users+100)
	most := int(time.Since(begin)/(users*pacePerUser)) + 2
	calls := 0
	for _, line := range stop() {
		if strings.Contains(line, assertScript.Hash()) && !strings.Contains(line, " lua] ") {
			calls++
		}
	}
	if calls < 1 || calls > most {
		t.Errorf("%d calls told of 100 users who came one by one within %v to a room of %d, want at most %d", calls, time.Since(begin), users, most)
	}
}

func TestAUserHeldToThePrefixCanDoPresence(t *testing.T) {
	server := redistest.Start(t, "--user", "gateway", "on", ">pass", "resetchannels", "~ns.chat:*", "&ns.chat:*",
		"-@all", "+@read", "+@write", "+@pubsub", "+@scripting", "+@transaction", "+@connection", "+wait", "+time", "-@admin", "-@dangerous", "+info", "+role")
	b, sink := start(t, Options{URL: "redis://gateway:pass@" + server.Addr, Cluster: "ns.chat"})
	target := room("lobby")
	b.Subscribe(target)
	sink.AwaitSubscribed(target, 1)
	b.Enter(target, "alice")
	backplanetest.AwaitMembers(t, b, target, "alice=1")
	wantChanges(t, sink, target, "alice=1")
}

func TestWhoLeavesAFullRedisIsGone(t *testing.T) {
	server, target := redistest.Start(t), room("lobby")
	a, sink := watch(t, server.URL(), target)
	a.Enter(target, "alice")
	a.Enter(target, "bob")
	backplanetest.AwaitMembers(t, a, target, "alice=1 bob=1")
	client := admin(t, server.Addr)
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	a.Enter(target, "carol")
	a.Leave(target, "alice")
	deadline := time.Now().Add(10 * time.Second)
	for !slices.Contains(sink.Changes(target), "alice=0") {
		if time.Now().After(deadline) {
			t.Fatalf("the changes are %q, want that alice left though Redis is full", sink.Changes(target))
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(2 * shortLease) // the lease is renewed all the same
	if page, err := a.Members(t.Context(), target, "", 10); err != nil || len(page.Members) != 1 || page.Members[0].User != "bob" {
		t.Errorf("the members are %+v (%v), want bob", page, err)
	}
	if status := a.PresenceStatus(); status.Untold != 1 || status.Reasserted != 0 {
		t.Errorf("the status is %+v, want carol untold, and nothing told anew", status)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	backplanetest.AwaitMembers(t, a, target, "bob=1 carol=1")
}

// Many nodes come, go, are cut off and come back; in the end everybody is listed as often as they are there, and what was told of
// each user to a listener that was never cut off alternates.
func TestPresenceUnderFaults(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server, target := redistest.Start(t), room("storm")
	_, sink := watch(t, server.URL(), target)
	type nodeUnderTest struct {
		*Backplane
		proxy *faultproxy.Proxy
		here  map[string]int
	}
	var nodes []*nodeUnderTest
	for range 3 {
		proxy := faultproxy.Start(t, server.Addr)
		b, _ := start(t, shortLived("redis://"+proxy.Addr))
		nodes = append(nodes, &nodeUnderTest{b, proxy, map[string]int{}})
	}
	for range 1500 {
		n := nodes[random.IntN(len(nodes))]
		u := fmt.Sprint("user-", random.IntN(20))
		switch dice := random.IntN(100); {
		case dice < 50:
			n.Enter(target, u)
			n.here[u]++
		case dice < 95:
			if n.here[u] > 0 {
				n.Leave(target, u)
				n.here[u]--
			}
		case dice < 98:
			n.proxy.Cut()
		default:
			n.proxy.Blackhole()
			time.AfterFunc(time.Duration(random.IntN(1800))*time.Millisecond, n.proxy.Restore)
		}
		time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
	}
	for _, n := range nodes {
		n.proxy.Restore()
	}
	sum := map[string]int{}
	for _, n := range nodes {
		for u, c := range n.here {
			sum[u] += c
		}
	}
	var want []string
	for _, u := range slices.Sorted(maps.Keys(sum)) {
		if sum[u] > 0 {
			want = append(want, fmt.Sprintf("%s=%d", u, sum[u]))
		}
	}
	backplanetest.AwaitMembers(t, nodes[0].Backplane, target, strings.Join(want, " "))

	here := map[string]bool{}
	for _, change := range sink.Changes(target) {
		u, connections, _ := strings.Cut(change, "=")
		if came := connections != "0"; came == here[u] {
			t.Errorf("it was told twice in a row that %s is here: %v", u, came)
		}
		here[u] = !here[u]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for u, is := range here {
		if is != (sum[u] > 0) {
			t.Errorf("the last that was told of %s is that it is here: %v", u, is)
		}
	}
	for _, n := range nodes {
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if left := admin(t, server.Addr).Keys(t.Context(), "*").Val(); len(left) != 0 {
		t.Errorf("after all nodes were closed the keys %q are left", left)
	}
}

func TestChangesAreReadOrRefused(t *testing.T) {
	got, err := parseChanges("1:5:alice0:3:b:o12:4:ü\xf0\x9f")
	want := []backplane.Member{{User: "alice", Connections: 1}, {User: "b:o"}, {User: "ü\xf0\x9f", Connections: 12}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, the changes (-want +got):\n%s", err, diff)
	}
	for _, broken := range []string{"1", "1:", "1:5", "1:5:", "1:5:alic", "1:0:", "-1:1:a", "1:-1:a", "x:1:a", "1:1:ab", "1:99999999999999999999:a", strings.Repeat("1", 40)} {
		if changes, err := parseChanges(broken); err == nil {
			t.Errorf("%q is read as %v, want it refused", broken, changes)
		}
	}
}
