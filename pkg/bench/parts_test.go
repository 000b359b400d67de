package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStampsAreFoundWhereverTheyAre(t *testing.T) {
	want := []Stamp{{0, 1, 0}, {7, 1 << 31, time.Hour}, {1<<32 - 1, 1<<32 - 1, 1<<63 - 1}}
	p := []byte(`{"x":"~wb~ is no stamp, nor is ~wb~zz`)
	for _, s := range want {
		p = append(p, `"},{"data":`...)
		p = s.appendData(p, 128)
	}
	var got []Stamp
	for {
		s, rest, ok := NextStamp(p)
		if !ok {
			break
		}
		got, p = append(got, s), rest
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestDataHasTheSizeThatWasAskedFor(t *testing.T) {
	for _, size := range []int{MinPayloadBytes, 128, 4096} {
		data := Stamp{1, 2, 3}.appendData(nil, size)
		if len(data) != size || data[0] != '"' || data[size-1] != '"' {
			t.Errorf("%d bytes: %q", size, data)
		}
	}
}

// serverFrame is a frame as a server sends it.
func serverFrame(first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n <= 125:
		return append([]byte{first, byte(n)}, payload...)
	case n < 1<<16:
		return append([]byte{first, 126, byte(n >> 8), byte(n)}, payload...)
	default:
		return append([]byte{first, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, payload...)
	}
}

func TestFramesAreTheSameHoweverTheStreamIsCut(t *testing.T) {
	var stream []byte
	var want []string
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte{'p'}, size)
		stream = append(stream, serverFrame(0x81, payload)...)
		want = append(want, fmt.Sprintf("1 %d", size))
	}
	stream = append(stream, serverFrame(0x01, []byte("first "))...)
	stream = append(stream, serverFrame(0x89, []byte("ping"))...)
	stream = append(stream, serverFrame(0x00, []byte("second "))...)
	stream = append(stream, serverFrame(0x80, []byte("third"))...)
	want = append(want, "9 4", "1 18")
	for round := range 50 {
		var p parser
		var got []string
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(1+1<<(round%18)))
			// The bytes are only lent: what the parser keeps must be a copy.
			lent := slices.Clone(rest[:n])
			if err := p.feed(lent, func(op byte, payload []byte) bool {
				got = append(got, fmt.Sprintf("%d %d", op, len(payload)))
				return true
			}); err != nil {
				t.Fatal(err)
			}
			clear(lent)
			rest = rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("cut at random the frames are %v, want %v", got, want)
		}
		if p.partial != nil || p.message != nil {
			t.Fatalf("%d and %d bytes are kept after the last frame", len(p.partial), len(p.message))
		}
	}
}

func TestFramesThatNoServerMaySendAreErrors(t *testing.T) {
	for name, frame := range map[string][]byte{
		"a masked one":      {0x81, 0x80 | 1, 0, 0, 0, 0, 'x'},
		"one of a petabyte": {0x81, 127, 0, 4, 0, 0, 0, 0, 0, 0},
	} {
		if err := new(parser).feed(frame, func(byte, []byte) bool { return true }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestClientFramesAreMasked(t *testing.T) {
	payload := []byte(strings.Repeat("hello, ", 20))
	frame := appendFrame(nil, OpText, payload)
	if frame[0] != 0x81 || frame[1] != 0x80|126 {
		t.Fatalf("header % x", frame[:4])
	}
	key, got := frame[4:8], slices.Clone(frame[8:])
	for i := range got {
		got[i] ^= key[i%4]
	}
	if !bytes.Equal(got, payload) {
		t.Errorf("unmasked: %q, want %q", got, payload)
	}
}

func TestEveryMembershipIsFoundAgain(t *testing.T) {
	for _, top := range []topology{
		{publishers: 1, subscribers: 1999, rooms: 1, span: 1, publishersJoin: true},
		{publishers: 200, subscribers: 1800, rooms: 200, span: 1, publishersJoin: true},
		{publishers: 7, subscribers: 100, rooms: 50, span: 3, publishersJoin: true},
		{publishers: 50, subscribers: 20, rooms: 7, span: 7, publishersJoin: true},
		{publishers: 3, subscribers: 20, rooms: 100, span: 50},
	} {
		members := make([]int, top.rooms)
		for client := range top.clients() {
			rooms := top.appendRooms(nil, client)
			for room := range top.rooms {
				if got, want := top.place(client, room), slices.Index(rooms, room); got != want {
					t.Fatalf("%+v: client %d has room %d at place %d, want %d of %v", top, client, room, got, want, rooms)
				}
			}
			for _, room := range rooms {
				members[room]++
			}
		}
		streams := 0
		for room := range top.rooms {
			n := top.streamsOfRoom(room)
			if n == 0 {
				t.Fatalf("%+v: nobody publishes to room %d", top, room)
			}
			for i := range n {
				stream := room + i*top.rooms
				if top.streamRoom(stream) != room {
					t.Fatalf("%+v: stream %d goes to room %d, want %d", top, stream, top.streamRoom(stream), room)
				}
				if publisher := top.streamPublisher(stream); top.publishersJoin && top.place(publisher, room) < 0 {
					t.Fatalf("%+v: publisher %d of room %d is not in it", top, publisher, room)
				}
			}
			streams += n
		}
		if streams != top.streams() {
			t.Errorf("%+v: rooms have %d streams, want %d", top, streams, top.streams())
		}
		if spread := slices.Max(members) - slices.Min(members); spread > 2 {
			t.Errorf("%+v: the largest room has %d members more than the smallest", top, spread)
		}
	}
}

func TestQuantilesAreWithinAThirtySecond(t *testing.T) {
	var h histogram
	for i := 1; i <= 100_000; i++ {
		h.add(time.Duration(i) * 10 * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := q * float64(time.Second)
		if got := float64(h.quantile(q)); got < want || got > want*(1+1.0/32) {
			t.Errorf("quantile %g is %v, want at least %v and at most 1/32 more", q, time.Duration(got), time.Duration(want))
		}
	}
	var empty histogram
	if got := empty.quantiles(); got != (Quantiles{}) {
		t.Errorf("nothing has quantiles %+v", got)
	}
}

func TestTimersRunInOrderOfTime(t *testing.T) {
	var all timers
	var got []int
	for _, i := range rand.Perm(100) {
		all.add(time.Duration(i), func() { got = append(got, i) })
	}
	all.run(49)
	if next, ok := all.next(); !ok || next != 50 || len(got) != 50 || !slices.IsSorted(got) {
		t.Errorf("until 49 ran %v; the next is %v", got, next)
	}
}

func TestBadOptionsSayWhatToWrite(t *testing.T) {
	good := Options{URLs: []string{"ws://127.0.0.1:1/ws"}, Publishers: 1, Subscribers: 1}
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no address", func(o *Options) { o.URLs = nil }, "like ws://127.0.0.1:8080/ws"},
		{"http", func(o *Options) { o.URLs[0] = "http://x/ws" }, `"http://x/ws" is no WebSocket address`},
		{"nobody", func(o *Options) { o.Publishers, o.Subscribers = 0, 0 }, "0 is out of range, use 1 to"},
		{"too many", func(o *Options) { o.Subscribers = MaxClients + 1 }, "out of range, use 0 to 200000"},
		{"more files than there are", func(o *Options) { o.Subscribers = MaxClients - 1 }, "ulimit -n"},
		{"tiny payload", func(o *Options) { o.PayloadBytes = 10 }, fmt.Sprintf("use %d to", MinPayloadBytes)},
		{"more rooms each than rooms", func(o *Options) { o.RoomsPerSubscriber = 2 }, "rooms per subscriber: 2 is out of range, use 1 to 1"},
	} {
		o := good
		o.URLs = slices.Clone(good.URLs)
		test.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want a sentence with %q", test.name, err, test.want)
		}
	}
	o, err := good.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		load Load
		want string
	}{
		{"nothing", Load{Duration: time.Second}, "either a rate"},
		{"both", Load{Duration: time.Second, Rate: 1, Outstanding: 1}, "not both"},
		{"no end", Load{Rate: 1}, "duration"},
		{"too fast", Load{Rate: 1e9, Duration: time.Second}, "use up to"},
	} {
		if _, err := test.load.validate(&o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want a sentence with %q", test.name, err, test.want)
		}
	}
}
