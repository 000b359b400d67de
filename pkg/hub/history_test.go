package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// site is a hub behind a lossy link, with one room that messages are published to. Their data counts 1, 2, 3 …
type site struct {
	t    testing.TB
	hub  *hub.Hub
	link *lossy
	keep *backplane.Keep
	room backplane.Target

	mu        sync.Mutex
	published int
	listeners int
}

// open returns a site whose hub is closed at the end of the test; in a bubble a goroutine that stays fails the test.
func open(t *testing.T, change ...func(*hub.Options)) *site {
	link := newLossy()
	o := hub.Options{Backplane: link, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	s := &site{
		t: t, link: link, hub: hub.New(o), room: backplane.Target{Kind: backplane.Room, ID: "lobby"},
		keep: &backplane.Keep{Size: 100_000, TTL: 24 * time.Hour},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.hub.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

type confirmed func(backplane.Receipt, error)

func (c confirmed) Published(r backplane.Receipt, err error) { c(r, err) }

// publish publishes n messages as another gateway would, and returns where the last one is.
func (s *site) publish(n int) (at protocol.Position) {
	s.t.Helper()
	for range n {
		at = s.publishOne(func(*backplane.Message) {})
	}
	return at
}

func (s *site) publishOne(change func(*backplane.Message)) (at protocol.Position) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published++
	data := fmt.Append(nil, s.published)
	m := &backplane.Message{Target: s.room, Keep: s.keep, Body: protocol.AppendMessage(nil, &protocol.Message{
		ID: append([]byte("m-"), data...), RoomID: []byte(s.room.ID), From: "alice", Data: data, TS: time.Now().UnixMilli(),
	})}
	change(m)
	done := make(chan struct{})
	s.link.Publish(m, confirmed(func(r backplane.Receipt, err error) {
		if err != nil {
			s.t.Errorf("publish message %s: %v", data, err)
		}
		at = protocol.Position{Epoch: r.Epoch, Offset: r.Offset}
		close(done)
	}))
	<-done
	return at
}

// connect returns a client that is not in the room yet.
func (s *site) connect(t *testing.T) *listener {
	s.mu.Lock()
	s.listeners++
	id := fmt.Sprint("client-", s.listeners)
	s.mu.Unlock()
	l := &listener{t: t, room: s.room.ID, client: &hub.Client{ID: id, UserID: id}}
	l.client.Sender = l
	s.hub.Connect(t.Context(), l.client, false, func(*protocol.Position) {})
	return l
}

func (s *site) join(l *listener, wanted hub.Wanted) {
	s.hub.JoinLog(l.client, s.room.ID, wanted, l.joined)
}

// member returns a client that has joined and been acked.
func (s *site) member(t *testing.T) *listener {
	t.Helper()
	l := s.connect(t)
	s.join(l, hub.Wanted{})
	synctest.Wait()
	if len(l.acked()) != 1 {
		t.Fatalf("%s was not acked", l.client.ID)
	}
	return l
}

// wait lets time go on, and everything come to rest.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func count(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func (l *listener) mustHave(want []string, when string) {
	l.t.Helper()
	if diff := cmp.Diff(want, l.got(), cmpopts.EquateEmpty()); diff != "" {
		l.t.Errorf("%s: %s has (-want +got):\n%s", when, l.client.ID, diff)
	}
}

// scrubbed is time enough for the hub to look at the logs of all rooms of a test.
func scrubbed() {
	wait(10 * time.Second)
}

func TestMembersSeeEveryOffsetOnceWhateverTheLinkDoes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, random := open(t), rand.New(rand.NewPCG(seed, 1))
				s.link.deliver = func(*backplane.Message) fate {
					return []fate{once, once, once, never, twice, later}[random.IntN(6)]
				}
				var members []*listener
				for range 3 {
					members = append(members, s.member(t))
				}
				for range 300 {
					s.publish(1)
					switch random.IntN(20) {
					case 0:
						s.link.release()
					case 1:
						synctest.Wait()
					case 2:
						s.link.breakLink()
					case 3, 4, 5:
						s.link.restoreLink()
					case 6:
						time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
					}
				}
				s.link.restoreLink()
				s.link.release()
				scrubbed()
				for _, m := range members {
					m.mustHave(count(1, 300), "at the end")
				}
			})
		})
	}
}

func TestABrokenLinkIsRepairedOnceForTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		var members []*listener
		for range 100 {
			members = append(members, s.member(t))
		}
		s.publish(5)
		synctest.Wait()
		reads := s.link.readCount()
		s.link.breakLink()
		s.publish(20)
		s.link.restoreLink()
		synctest.Wait()
		for _, m := range members {
			m.mustHave(count(1, 25), "after the link came back")
		}
		if got := s.link.readCount() - reads; got > 2 {
			t.Errorf("the log was read %d times for a hole in one room, want at most twice", got)
		}
	})
}

func TestAMessageThatComesDuringARepairIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		m := s.member(t)
		s.publish(8)
		s.link.deliver = dropping(9)
		published := false
		s.link.hasRead = func(backplane.Target, backplane.Cursor, *backplane.Page) {
			if !published {
				published = true
				s.publish(1) // the page that shows 9 and 10 is on its way already
			}
		}
		s.publish(2)
		synctest.Wait()
		m.mustHave(count(1, 11), "with no other message and no scrub")
	})
}

// dropping drops the messages with these offsets.
func dropping(offsets ...int64) func(*backplane.Message) fate {
	return func(m *backplane.Message) fate {
		if slices.Contains(offsets, m.Offset) {
			return never
		}
		return once
	}
}

func TestALostLastMessageIsFoundByTheScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		m := s.member(t)
		s.link.deliver = dropping(3)
		s.publish(3)
		synctest.Wait()
		m.mustHave(count(1, 2), "at once")
		scrubbed()
		m.mustHave(count(1, 3), "a while later")
	})
}

func TestRecoveryGivesWhatWasMissedOrSaysThatItCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Hour}
		epoch := s.publish(30).Epoch // 21 to 30 are kept
		for _, c := range []struct {
			name     string
			wanted   hub.Wanted
			want     protocol.Recovery
			messages []string
		}{
			{"nothing asked", hub.Wanted{}, protocol.Recovery{}, nil},
			{"history", hub.Wanted{History: 3}, protocol.Recovery{}, count(28, 30)},
			{"more history than there is", hub.Wanted{History: 300}, protocol.Recovery{}, count(21, 30)},
			{"nothing missed", recoverFrom(epoch, 30), protocol.Recovery{Asked: true, Recovered: true}, nil},
			{"two missed", recoverFrom(epoch, 28), protocol.Recovery{Asked: true, Recovered: true}, count(29, 30)},
			{"all that is kept missed", recoverFrom(epoch, 20), protocol.Recovery{Asked: true, Recovered: true}, count(21, 30)},
			{"one more than is kept missed", recoverFrom(epoch, 19), protocol.Recovery{Asked: true}, nil},
			{"a place that is not reached yet", recoverFrom(epoch, 31), protocol.Recovery{Asked: true}, nil},
			{"another epoch", recoverFrom("other", 28), protocol.Recovery{Asked: true}, nil},
			{"no epoch", recoverFrom("", 0), protocol.Recovery{Asked: true}, nil},
			{"recovery before history", hub.Wanted{Recover: true, From: protocol.Position{Epoch: epoch, Offset: 28}, History: 5}, protocol.Recovery{Asked: true, Recovered: true}, count(29, 30)},
			{"history where recovery fails", hub.Wanted{Recover: true, From: protocol.Position{Epoch: "other", Offset: 28}, History: 5}, protocol.Recovery{Asked: true}, count(26, 30)},
		} {
			l := s.connect(t)
			s.join(l, c.wanted)
			synctest.Wait()
			if len(l.acked()) != 1 {
				t.Errorf("%s: %d acks, want 1", c.name, len(l.acked()))
				continue
			}
			got := l.acked()[0]
			got.Messages = nil
			c.want.At = protocol.Position{Epoch: epoch, Offset: 30}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: the ack (-want +got):\n%s", c.name, diff)
			}
			l.mustHave(c.messages, c.name)
			s.hub.Leave(l.client, []byte(s.room.ID))
			s.hub.Disconnect(l.client)
		}
	})
}

func recoverFrom(epoch string, offset int64) hub.Wanted {
	return hub.Wanted{Recover: true, From: protocol.Position{Epoch: epoch, Offset: offset}}
}

func TestALogThatIsTrimmedWhileAJoinReadsItIsNotRecoveredSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Hour}
		epoch := s.publish(10).Epoch
		reads := 0
		s.link.hasRead = func(backplane.Target, backplane.Cursor, *backplane.Page) {
			if reads++; reads == 1 {
				s.publish(5) // after the first look, before the page: 1 to 5 are gone
			}
		}
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 2))
		synctest.Wait()
		acks := l.acked()
		if len(acks) != 1 {
			t.Fatalf("%d acks, want 1", len(acks))
		}
		if acks[0].Recovered {
			l.mustHave(count(3, 15), "told that it recovered")
		}
	})
}

func TestALogThatIsLostWhileAJoinReadsItIsNotRecoveredSilently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Minute}
		epoch := s.publish(10).Epoch
		s.link.hasRead = func(_ backplane.Target, _ backplane.Cursor, page *backplane.Page) {
			if page.Epoch == epoch {
				time.Sleep(time.Minute) // it expires between the first look and the page
				s.publish(10)
			}
		}
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 8))
		scrubbed()
		wait(time.Minute)
		acks := l.acked()
		if len(acks) != 1 || acks[0].Recovered || acks[0].At.Epoch == epoch {
			t.Errorf("the acks are %+v, want one of the new epoch that is not recovered", acks)
		}
	})
}

func TestALongRecoveryIsPacedAndCompleteBeforeAnyLiveMessage(t *testing.T) {
	const queue = 64 << 10
	synctest.Test(t, func(t *testing.T) {
		s := open(t, func(o *hub.Options) { o.SendQueueBytes = func() int { return queue } })
		epoch := s.publish(5).Epoch
		s.publish(2000)
		l := s.connect(t)
		l.hold()
		s.join(l, recoverFrom(epoch, 5))
		for len(l.got()) < 2500 {
			synctest.Wait()
			s.publish(5) // live traffic goes on
			time.Sleep(50 * time.Millisecond)
			l.read()
			if l.closeCode() != 0 || t.Failed() {
				t.Fatalf("closed with %d after %d messages", l.closeCode(), len(l.got()))
			}
		}
		l.mustHave(count(6, 5+len(l.got())), "after the recovery")
		if ack := l.acked()[0]; !ack.Recovered {
			t.Error("the ack does not say recovered")
		}
		if l.most > queue {
			t.Errorf("%d bytes were queued at a time, want at most the send queue, %d", l.most, queue)
		}
	})
}

func TestAnAckCarriesABoundedPartOfARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		epoch := s.publish(1000).Epoch
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 1))
		synctest.Wait()
		if got := strings.Count(string(l.acked()[0].Messages), `"type":"message"`); got != protocol.MaxAckMessages {
			t.Errorf("the ack carries %d messages, want %d", got, protocol.MaxAckMessages)
		}
		wait(time.Second)
		l.mustHave(count(2, 1000), "a second later")
	})
}

func TestClientsThatDoNotReadTheirRecoveryHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, func(o *hub.Options) { o.SendQueueBytes = func() int { return 64 << 10 } })
		epoch := s.publish(1000).Epoch
		var stuck []*listener
		for range 200 {
			l := s.connect(t)
			l.hold()
			s.join(l, recoverFrom(epoch, 1))
			stuck = append(stuck, l)
		}
		wait(time.Second)
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 900))
		wait(time.Second)
		l.mustHave(count(901, 1000), "beside 200 that do not read")
		for _, l := range stuck {
			s.hub.Disconnect(l.client)
		}
	})
}

func TestAnExpiredLogIsANewEpochForItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Minute}
		m := s.member(t)
		unwritten := m.position()
		old := s.publish(3)
		if old.Epoch != unwritten.Epoch {
			t.Errorf("the first message came in the epoch %q, the join said %q", old.Epoch, unwritten.Epoch)
		}
		wait(2 * time.Minute)
		s.publish(3)
		synctest.Wait()
		changes := m.epochChanges()
		if len(changes) != 1 || changes[0].from != old || changes[0].to.Epoch == old.Epoch || changes[0].to.Offset != 0 {
			t.Errorf("epoch_changed frames: %+v, want one from %+v to a new epoch's beginning", changes, old)
		}
		if got, want := m.sequence(), "ack 1 2 3 epoch_changed 4 5 6"; got != want {
			t.Errorf("the member got %q, want %q", got, want)
		}
	})
}

func TestAnEpochThatChangesBetweenMessagesIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		// missed are lost on the way before the failover.
		missed []int64
		want   string
		from   int64
	}{
		{"to members that have all of the old epoch", nil, "ack 1 2 3 4 5 epoch_changed 6 7", 5},
		{"to members that lack the end of the old epoch", []int64{4, 5}, "ack 1 2 3 epoch_changed 4 5 6 7", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t)
				m := s.member(t)
				s.link.deliver = dropping(c.missed...)
				s.publish(5)
				s.link.failover(s.room)
				s.publish(2)
				synctest.Wait()
				if got := m.sequence(); got != c.want {
					t.Errorf("the member got %q, want %q", got, c.want)
				}
				if changes := m.epochChanges(); len(changes) != 1 || changes[0].from.Offset != c.from || changes[0].to.Offset != c.from {
					t.Errorf("epoch_changed frames: %+v, want one from and to offset %d", changes, c.from)
				}
			})
		})
	}
}

// The log is lost and fails over before this process looks again: the epoch in between, which nobody here has seen, gave out
// offsets that the members have had in theirs.
func TestNothingOfAnEpochInBetweenIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Minute}
		var away atomic.Bool
		s.link.reading = func(backplane.Target, backplane.Cursor) error {
			if away.Load() {
				return backplane.ErrUnavailable
			}
			return nil
		}
		m := s.member(t)
		s.publish(5)
		away.Store(true)
		s.link.breakLink()
		wait(2 * time.Minute)
		s.publish(3)
		s.link.failover(s.room)
		s.publish(1)
		away.Store(false)
		s.link.restoreLink()
		wait(time.Second)
		if got, want := m.sequence(), "ack 1 2 3 4 5 epoch_changed 6 7 8 9"; got != want {
			t.Errorf("the member got %q, want %q", got, want)
		}
	})
}

func TestAFailoverIsToldWithoutAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		m := s.member(t)
		s.publish(5)
		s.link.failover(s.room)
		scrubbed()
		if got, want := m.sequence(), "ack 1 2 3 4 5 epoch_changed"; got != want {
			t.Errorf("the member got %q, want %q", got, want)
		}
	})
}

// A gateway that hears nothing falls behind a short log, while clients that join read the log themselves. When the others are told
// what the log has forgotten, those have had what follows.
func TestAHoleThatTheLogHasForgottenIsToldOnlyToWhomItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Hour}
		var deaf atomic.Bool
		s.link.deliver = func(*backplane.Message) fate {
			if deaf.Load() {
				return never
			}
			return once
		}
		old := s.member(t)
		s.publish(3)
		deaf.Store(true)
		s.publish(12)
		recovering := s.connect(t)
		s.join(recovering, hub.Wanted{History: 5})
		synctest.Wait()
		s.publish(4)
		late := s.connect(t)
		s.join(late, hub.Wanted{History: 100})
		synctest.Wait()
		s.publish(6)
		deaf.Store(false)
		s.publish(1) // 17 to 26 are kept
		synctest.Wait()
		for _, c := range []struct {
			who  string
			l    *listener
			want string
		}{
			{"the member that was there before", old, "ack 1 2 3 epoch_changed " + strings.Join(count(17, 26), " ")},
			{"one that had the log up to a place that it has forgotten", recovering, "ack 11 12 13 14 15 epoch_changed " + strings.Join(count(17, 26), " ")},
			{"one that had the log up to a place that it still has", late, "ack " + strings.Join(count(10, 26), " ")},
		} {
			if got := c.l.sequence(); got != c.want {
				t.Errorf("%s got %q, want %q", c.who, got, c.want)
			}
		}
		if changes := recovering.epochChanges(); len(changes) != 1 || changes[0].from.Offset != 15 || changes[0].to.Offset != 16 {
			t.Errorf("epoch_changed frames: %+v, want one from offset 15 to 16", changes)
		}
	})
}

func TestAHoleThatTheLogHasForgottenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.keep = &backplane.Keep{Size: 10, TTL: time.Hour}
		m := s.member(t)
		s.publish(5)
		s.link.breakLink()
		s.publish(30)
		s.link.restoreLink()
		synctest.Wait()
		want := "ack 1 2 3 4 5 epoch_changed " + strings.Join(count(26, 35), " ")
		if got := m.sequence(); got != want {
			t.Errorf("the member got %q, want %q", got, want)
		}
		if got := s.hub.Stats().Lost; got != 20 {
			t.Errorf("%d messages are counted as lost, want 20", got)
		}
	})
}

func TestAJoinWaitsForAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		var away atomic.Bool
		away.Store(true)
		s.link.reading = func(backplane.Target, backplane.Cursor) error {
			if away.Load() {
				return fmt.Errorf("%w: away", backplane.ErrUnavailable)
			}
			return nil
		}
		epoch := s.publish(5).Epoch
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 2))
		wait(time.Minute)
		if len(l.acked()) != 0 {
			t.Fatal("the join was acked while the log could not be read")
		}
		away.Store(false)
		wait(time.Second)
		l.mustHave(count(3, 5), "when the store is back")
	})
}

// TestALinkThatBreaksWhileTheFirstMemberJoins has the channel know nothing of its place in the log yet: what the link loses
// between the page of the join and its entry leaves no other trace.
func TestALinkThatBreaksWhileTheFirstMemberJoins(t *testing.T) {
	for _, c := range []struct {
		name string
		// meanwhile happens after the page was read.
		meanwhile func(*site)
	}{
		{"and is back before the next message", func(s *site) {
			s.link.breakLink()
			s.publish(2)
			s.link.restoreLink()
		}},
		{"and is back with the next message", func(s *site) {
			s.link.breakLink()
			s.publish(2)
			s.link.restoreLink()
			s.publish(1)
		}},
		{"and loses a message without a sign", func(s *site) {
			s.link.deliver = dropping(6)
			s.publish(2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t)
				epoch := s.publish(5).Epoch
				done := false
				s.link.hasRead = func(_ backplane.Target, from backplane.Cursor, _ *backplane.Page) {
					if from.Limit > 0 && !done {
						done = true
						c.meanwhile(s)
					}
				}
				l := s.connect(t)
				s.join(l, recoverFrom(epoch, 2))
				wait(500 * time.Millisecond) // no scrub yet
				l.mustHave(count(3, s.published), "soon")
			})
		})
	}
}

func TestJoiningTwiceAcksTwiceAndGivesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		epoch := s.publish(5).Epoch
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 2))
		s.join(l, recoverFrom(epoch, 2)) // while the first is under way
		synctest.Wait()
		s.publish(1)
		s.join(l, hub.Wanted{History: 5}) // as a member
		synctest.Wait()
		if got := len(l.acked()); got != 3 {
			t.Errorf("%d acks, want 3", got)
		}
		l.mustHave(count(3, 6), "after three joins")
		s.publish(1)
		l.mustHave(count(3, 7), "with a live message")
	})
}

func TestLeavingDuringARecoveryEndsItAndAcksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, func(o *hub.Options) { o.SendQueueBytes = func() int { return 16 << 10 } })
		epoch := s.publish(1000).Epoch
		l := s.connect(t)
		l.hold()
		s.join(l, recoverFrom(epoch, 1))
		synctest.Wait()
		had := len(l.got())
		if had == 0 || had > 500 {
			t.Fatalf("the client has %d messages, want a part of 999", had)
		}
		s.hub.Leave(l.client, []byte(s.room.ID))
		l.read()
		wait(time.Second)
		s.publish(1)
		if got := len(l.got()); got != had {
			t.Errorf("%d messages came after the leave", got-had)
		}
		if got := len(l.acked()); got != 1 {
			t.Errorf("%d acks, want 1", got)
		}
		if got := s.hub.Stats().Rooms; got != 0 {
			t.Errorf("%d rooms have members, want none", got)
		}
	})
}

func TestLeavingWhileTheLogIsReadGivesNothingAndAcks(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*site, *listener)
	}{
		{"by a leave", func(s *site, l *listener) { s.hub.Leave(l.client, []byte(s.room.ID)) }},
		{"by the connection's end", func(s *site, l *listener) { s.hub.Disconnect(l.client) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t)
				epoch := s.publish(10).Epoch
				l := s.connect(t)
				s.link.hasRead = func(_ backplane.Target, from backplane.Cursor, _ *backplane.Page) {
					if from.Limit > 0 {
						c.end(s, l)
					}
				}
				s.join(l, recoverFrom(epoch, 1))
				wait(time.Second)
				s.publish(1)
				l.mustHave(nil, "after the end")
				if acks := l.acked(); len(acks) != 1 || acks[0].Recovered {
					t.Errorf("the acks are %+v, want one that is not recovered", acks)
				}
				if got := s.hub.Stats().Rooms; got != 0 {
					t.Errorf("%d rooms have members, want none", got)
				}
			})
		})
	}
}

func TestAMemberThatLeftAheadOfTheRoomGetsAllWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		stays := s.member(t)
		s.publish(2)
		s.link.deliver = func(*backplane.Message) fate { return later }
		epoch := s.publish(8).Epoch // the room has not seen 3 to 10
		l := s.connect(t)
		s.join(l, recoverFrom(epoch, 0))
		synctest.Wait()
		l.mustHave(count(1, 10), "from the log")
		s.hub.Leave(l.client, []byte(s.room.ID))
		s.link.deliver = nil
		s.link.release()
		stays.mustHave(count(1, 10), "when the delayed ones came")

		// The log ends and begins anew; the client comes back to small offsets.
		s.keep = &backplane.Keep{Size: 100, TTL: time.Second}
		s.publish(1)
		wait(2 * time.Second)
		s.publish(1)
		synctest.Wait()
		back := l.client
		again := &listener{t: t, room: s.room.ID, client: back}
		back.Sender = again
		s.join(again, hub.Wanted{})
		synctest.Wait()
		s.publish(5)
		synctest.Wait()
		again.mustHave(count(13, 17), "in the new epoch")
	})
}

func TestEchoIsLeftOutOfLiveRepairedAndRecoveredMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		l := s.connect(t)
		other := s.member(t)
		quiet := func(m *backplane.Message) { m.Exclude = l.client.ID }
		epoch := s.publishOne(quiet).Epoch
		s.publishOne(func(*backplane.Message) {})
		l.quiet = true
		s.join(l, recoverFrom(epoch, 0))
		synctest.Wait()
		s.publishOne(quiet)
		s.publishOne(func(*backplane.Message) {})
		s.link.breakLink()
		s.publishOne(quiet)
		s.publishOne(func(*backplane.Message) {})
		s.link.restoreLink()
		synctest.Wait()
		if got, want := strings.Join(l.got(), " "), "2 4 6"; got != want {
			t.Errorf("the publisher got %q, want %q", got, want)
		}
		other.mustHave(count(1, 6), "who did not publish")
	})
}

func TestMessagesWithAndWithoutAPlaceInTheLogMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		slow := s.member(t)
		release := make(chan struct{})
		s.publish(5)
		s.link.deliver = func(m *backplane.Message) fate {
			if m.Offset == 6 {
				return later
			}
			return once
		}
		s.publish(1)
		for range 40 {
			s.member(t) // so many that the fan-out has a goroutine of its own
		}
		l := s.connect(t)
		s.join(l, hub.Wanted{}) // known: the room stands at 5
		ahead := s.connect(t)
		s.join(ahead, hub.Wanted{History: 2}) // has 6 from the log, before the room
		synctest.Wait()
		// The first of the next messages is being fanned out for long; what comes meanwhile goes out together.
		entered := make(chan struct{})
		slow.stall = sync.OnceFunc(func() { close(entered); <-release })
		s.link.release()
		<-entered
		plain := func(m *backplane.Message) { m.Keep = nil }
		for _, change := range []func(*backplane.Message){plain, func(*backplane.Message) {}, plain, plain, func(*backplane.Message) {}} {
			s.publishOne(change)
		}
		close(release)
		scrubbed()
		slow.mustHave(count(1, 11), "a member")
		l.mustHave(count(6, 11), "one that joined later")
		ahead.mustHave(count(5, 11), "one that was ahead")
	})
}

// While the channel is being repaired a second join reads the log too.
func TestJoiningAgainDuringARepairGivesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		m := s.member(t)
		s.publish(3)
		var reading atomic.Bool
		s.link.reading = func(backplane.Target, backplane.Cursor) error {
			if reading.Load() {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
		s.link.hasRead = func(_ backplane.Target, _ backplane.Cursor, page *backplane.Page) {
			if reading.CompareAndSwap(true, false) {
				s.publish(2) // comes when the page has been read, and before the join enters
			}
		}
		reading.Store(true)
		s.link.breakLink()
		s.link.restoreLink() // the channel looks at its log
		s.join(m, hub.Wanted{})
		wait(time.Second)
		if got, want := strings.ReplaceAll(m.sequence(), " ack", ""), "ack 1 2 3 4 5"; got != want {
			t.Errorf("the member got %q, want %q", m.sequence(), want)
		}
		if acks := m.acked(); len(acks) != 2 {
			t.Errorf("%d joins are acked, want 2", len(acks))
		}
	})
}

// The gateway hears nothing over a link that is half-open, and another connection of the user was there before.
func TestAWelcomeSaysWhereTheInboxStandsThoughTheGatewayIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.room = backplane.Target{Kind: backplane.User, ID: "alice"}
		var deaf atomic.Bool
		s.link.deliver = func(*backplane.Message) fate {
			if deaf.Load() {
				return never
			}
			return once
		}
		connect := func(id string) *listener {
			l := &listener{t: t, room: "alice", client: &hub.Client{ID: id, UserID: "alice"}}
			l.client.Sender = l
			s.hub.Connect(t.Context(), l.client, true, func(p *protocol.Position) {
				if p == nil {
					t.Fatal("the greeting does not say where the inbox stands")
				}
				l.joined(protocol.Recovery{At: *p})
			})
			return l
		}
		first := connect("first")
		s.publish(3)
		deaf.Store(true)
		at := s.publish(5)
		second := connect("second")
		if got := second.position(); got != at {
			t.Errorf("the greeting said %+v, want %+v", got, at)
		}
		deaf.Store(false)
		s.publish(2)
		synctest.Wait()
		first.mustHave(count(1, 10), "when the gateway hears again")
		second.mustHave(count(9, 10), "when the gateway hears again")
		s.hub.Disconnect(first.client)
		s.hub.Disconnect(second.client)
	})
}

func TestAnInboxHasHistoryLikeARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.room = backplane.Target{Kind: backplane.User, ID: "alice"}
		l := &listener{t: t, room: "alice", client: &hub.Client{ID: "c", UserID: "alice"}}
		l.client.Sender = l
		at := s.publish(3)
		s.hub.Connect(t.Context(), l.client, true, func(p *protocol.Position) {
			if p == nil {
				t.Fatal("the greeting does not say where the inbox stands")
			}
			l.joined(protocol.Recovery{At: *p})
		})
		if got := l.position(); got != at {
			t.Errorf("the greeting said %+v, want %+v", got, at)
		}
		s.link.deliver = dropping(5)
		s.publish(3)
		synctest.Wait()
		l.mustHave(count(4, 6), "after a hole")
		s.link.failover(s.room)
		s.publish(1)
		synctest.Wait()
		if got, want := l.sequence(), "ack 4 5 6 epoch_changed 7"; got != want {
			t.Errorf("the inbox got %q, want %q", got, want)
		}
		s.hub.Disconnect(l.client)
	})
}

func TestHistoryIsListedInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		at := s.publish(10)
		type answer struct {
			listing hub.Listing
			err     error
		}
		list := func(from backplane.Cursor) answer {
			got := make(chan answer, 1)
			s.hub.History(s.room, from, func(l hub.Listing, err error) { got <- answer{l, err} })
			return <-got
		}
		for _, c := range []struct {
			from  backplane.Cursor
			first string
			n     int
			last  int64
			more  bool
		}{
			{backplane.Cursor{Limit: 4}, `"offset":1,`, 4, 4, true},
			{backplane.Cursor{Since: 4, Limit: 6}, `"offset":5,`, 6, 10, false},
			{backplane.Cursor{Since: 10, Limit: 6}, ``, 0, 0, false},
			{backplane.Cursor{Limit: 4, Reverse: true}, `"offset":10,`, 4, 7, true},
			{backplane.Cursor{Since: 7, Limit: 6, Reverse: true}, `"offset":6,`, 6, 1, false},
		} {
			got := list(c.from)
			l := got.listing
			if got.err != nil || l.At != at || l.Last != c.last || l.More != c.more || strings.Count(string(l.Messages), `"type":"message"`) != c.n {
				t.Errorf("%+v gave %+v, %v", c.from, l, got.err)
			}
			if first, _, _ := strings.Cut(string(l.Messages), "}"); !strings.Contains(first, c.first) {
				t.Errorf("%+v begins with %s, want %s", c.from, first, c.first)
			}
		}
		s.link.reading = func(backplane.Target, backplane.Cursor) error {
			return fmt.Errorf("%w: away", backplane.ErrUnavailable)
		}
		if got := list(backplane.Cursor{Limit: 1}); !errors.Is(got.err, backplane.ErrUnavailable) {
			t.Errorf("while the store is away: %v, want ErrUnavailable", got.err)
		}
	})
}
