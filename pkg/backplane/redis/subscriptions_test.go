package redis

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// fakeRedis is the other end of a link for tests of subscriptions alone: it carries out commands in order, and its
// confirmations can be held back.
type fakeRedis struct {
	subscribed map[string]bool
	replies    []reply
}

type reply struct {
	subscribe bool
	channel   string
}

func (f *fakeRedis) take(subscribe, unsubscribe []string) {
	for _, channel := range subscribe {
		f.subscribed[channel] = true
		f.replies = append(f.replies, reply{true, channel})
	}
	for _, channel := range unsubscribe {
		delete(f.subscribed, channel)
		f.replies = append(f.replies, reply{false, channel})
	}
}

// rig drives subscriptions as a subscriber does, one step at a time.
type rig struct {
	t       *testing.T
	s       *subscriptions
	redis   *fakeRedis
	telling *subscription
	// told counts what the sink was told for each channel.
	told map[string]int
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, s: newSubscriptions(), redis: &fakeRedis{subscribed: map[string]bool{}}, told: map[string]int{}}
}

func (r *rig) want(id string) { r.s.want(room(id), []byte(id), 0) }
func (r *rig) drop(id string) { r.s.drop([]byte(id)) }
func (r *rig) send() (commands int) {
	for {
		subscribe, unsubscribe := r.s.commands()
		if len(subscribe)+len(unsubscribe) == 0 {
			return commands
		}
		commands++
		r.redis.take(subscribe, unsubscribe)
	}
}

// receive takes one confirmation; the sink is being told until endTelling.
func (r *rig) receive() {
	reply := r.redis.replies[0]
	r.redis.replies = r.redis.replies[1:]
	if !reply.subscribe {
		r.s.unsubscribed([]byte(reply.channel))
		return
	}
	r.telling, _, _ = r.s.subscribed([]byte(reply.channel))
	if r.telling != nil {
		r.told[reply.channel]++
	}
}

func (r *rig) endTelling() {
	if r.telling != nil {
		r.s.told(r.telling)
		r.telling = nil
	}
}

func (r *rig) settle() {
	r.endTelling()
	for {
		r.send()
		if len(r.redis.replies) == 0 {
			return
		}
		r.receive()
		r.endTelling()
	}
}

func TestSubscriptionsThatChangeBeforeTheyAreSentCollapse(t *testing.T) {
	r := newRig(t)
	for range 10 {
		r.want("a")
		r.drop("a")
	}
	if got := r.send(); got != 0 {
		t.Errorf("%d commands for a channel that is not wanted in the end, want 0", got)
	}
	if len(r.s.byChannel) != 0 {
		t.Errorf("%d channels are kept, want 0", len(r.s.byChannel))
	}
	r.want("a")
	r.drop("a")
	r.want("a")
	if got := r.send(); got != 1 {
		t.Errorf("%d commands, want 1", got)
	}
	r.settle()
	if r.told["a"] != 1 {
		t.Errorf("the sink was told %d times, want 1", r.told["a"])
	}
}

func TestAnOldConfirmationIsNotTakenForANewOne(t *testing.T) {
	r := newRig(t)
	r.want("a")
	r.settle()
	r.drop("a")
	r.send() // UNSUBSCRIBE is on its way
	r.want("a")
	if got := r.send(); got != 0 {
		t.Fatalf("%d commands while the UNSUBSCRIBE is not confirmed, want 0", got)
	}
	r.receive()
	if r.told["a"] != 1 {
		t.Fatal("the sink was told of a subscription while Redis had none")
	}
	r.settle()
	if r.told["a"] != 2 || !r.redis.subscribed["a"] {
		t.Errorf("told %d times, want 2; subscribed: %v", r.told["a"], r.redis.subscribed["a"])
	}
}

func TestSubscribingAnewBeforeRedisHeardOfTheUnsubscribeIsConfirmed(t *testing.T) {
	r := newRig(t)
	r.want("a")
	r.settle()
	r.drop("a")
	r.want("a")
	r.settle()
	if r.told["a"] != 2 {
		t.Errorf("the sink was told %d times, want 2", r.told["a"])
	}
}

func TestWhileTheSinkIsToldTheSubscriptionStays(t *testing.T) {
	r := newRig(t)
	r.want("a")
	r.send()
	r.receive() // the sink is being told
	r.drop("a")
	r.send()
	if !r.redis.subscribed["a"] {
		t.Error("Redis was told to unsubscribe while the sink was told that the channel is subscribed")
	}
	r.settle()
	if r.redis.subscribed["a"] {
		t.Error("the channel stayed subscribed")
	}
}

func TestASubscriptionThatRedisEndsItselfIsMadeAgain(t *testing.T) {
	r := newRig(t)
	r.want("a")
	r.settle()
	delete(r.redis.subscribed, "a")
	r.s.unsubscribed([]byte("a"))
	r.settle()
	if r.told["a"] != 2 || !r.redis.subscribed["a"] {
		t.Errorf("told %d times, want 2; subscribed: %v", r.told["a"], r.redis.subscribed["a"])
	}
}

func TestCommandsAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range 2500 {
		r.want(fmt.Sprint(i))
	}
	for _, want := range []int{1000, 1000, 500, 0} {
		subscribe, _ := r.s.commands()
		if len(subscribe) != want {
			t.Errorf("a command has %d channels, want %d", len(subscribe), want)
		}
	}
	r = newRig(t)
	for i := range 1000 {
		r.want(strings.Repeat("x", 768) + fmt.Sprint(i))
	}
	if subscribe, _ := r.s.commands(); len(subscribe) > 400 {
		t.Errorf("a command has %d channels of 770 bytes, want at most 256 KiB together", len(subscribe))
	}
}

// Random interleavings of everything that can happen, against what must hold in the end and at every confirmation.
func TestSubscriptionsEndAsLastAskedWhateverHappens(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		r := newRig(t)
		ids := []string{"a", "b", "c"}
		wanted := map[string]bool{}
		asked := map[string]int{} // told count when last asked for
		for range 60 {
			id := ids[random.IntN(len(ids))]
			switch random.IntN(8) {
			case 0, 1:
				if !wanted[id] {
					asked[id] = r.told[id]
				}
				wanted[id] = true
				r.want(id)
			case 2:
				delete(wanted, id)
				r.drop(id)
			case 3:
				if subscribe, unsubscribe := r.s.commands(); len(subscribe)+len(unsubscribe) > 0 {
					r.redis.take(subscribe, unsubscribe)
				}
			case 4, 5:
				if r.telling == nil && len(r.redis.replies) > 0 {
					r.receive()
					if r.telling != nil && !r.redis.subscribed[r.telling.channel] {
						t.Fatalf("the sink is told of %s while Redis has it not", r.telling.channel)
					}
				}
			case 6:
				r.endTelling()
			case 7:
				if random.IntN(10) == 0 {
					r.endTelling()
					r.redis = &fakeRedis{subscribed: map[string]bool{}}
					r.s.lost()
					for id := range wanted {
						asked[id] = r.told[id]
					}
				}
			}
			if r.telling != nil && !r.redis.subscribed[r.telling.channel] {
				t.Fatalf("%s was unsubscribed while the sink was told of it", r.telling.channel)
			}
		}
		r.settle()
		for _, id := range ids {
			if r.redis.subscribed[id] != wanted[id] {
				t.Fatalf("%s is subscribed: %v, wanted: %v", id, r.redis.subscribed[id], wanted[id])
			}
			if ok := r.s.deliverable([]byte(id)) != nil; ok != wanted[id] {
				t.Fatalf("%s is delivered: %v, wanted: %v", id, ok, wanted[id])
			}
			if wanted[id] && r.told[id] == asked[id] {
				t.Fatalf("the sink was not told of %s since it was last asked for", id)
			}
		}
		if len(r.s.byChannel) != len(wanted) || r.s.count() != len(wanted) {
			t.Fatalf("%d channels kept, %d counted, %d wanted", len(r.s.byChannel), r.s.count(), len(wanted))
		}
	}
}
