package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces reads its text in pieces of random lengths.
type pieces struct {
	text   []byte
	random *rand.Rand
}

func (p *pieces) Read(dst []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(dst[:min(len(dst), 1+p.random.IntN(64))], p.text)
	p.text = p.text[n:]
	return n, nil
}

// event is a push whose parts do not lie in a buffer.
type event struct {
	kind             pushKind
	channel, payload string
}

func (e event) String() string {
	return fmt.Sprintf("{%d %q %d bytes}", e.kind, e.channel, len(e.payload))
}

// allPushes reads to the end or the first error.
func allPushes(source io.Reader) (events []event, err error) {
	r := newRESPReader(source)
	for {
		p, err := r.push()
		if err != nil {
			return events, err
		}
		events = append(events, event{p.kind, string(p.channel), string(p.payload)})
	}
}

// allReplies reads to the end or the first error but a refusal; refusals are among the values.
func allReplies(source io.Reader) (values []any, err error) {
	r := newRESPReader(source)
	for {
		v, err := r.value()
		if err != nil && !isRefusal(err) {
			return values, err
		}
		values = append(values, v, err)
	}
}

func message(channel, payload string) string {
	return fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(payload), payload)
}

func TestPushesAreReadHoweverTheyAreCut(t *testing.T) {
	stream := "+PONG\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n" + message("a", "x\r\n*3\r\n$y") + message("a", "")
	want := []event{{kind: pushPong}, {pushSubscribed, "a", ""}, {kind: pushPong}, {pushMessage, "a", "x\r\n*3\r\n$y"}, {pushMessage, "a", ""}}
	// Around the sizes of the buffer, so that it is moved, grown and given back.
	for _, size := range []int{readBufferBytes - 40, readBufferBytes, readBufferBytes + 1, 200_000, keptReadBufferBytes, 3 << 20, 5} {
		payload := strings.Repeat("0123456789", size/10+1)[:size]
		stream += message("large", payload) + message("small", "s")
		want = append(want, event{pushMessage, "large", payload}, event{pushMessage, "small", "s"})
	}
	stream += "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"
	want = append(want, event{pushUnsubscribed, "a", ""})
	for name, source := range map[string]io.Reader{
		"whole":                       strings.NewReader(stream),
		"byte by byte":                iotest.OneByteReader(strings.NewReader(stream)),
		"in pieces":                   &pieces{[]byte(stream), rand.New(rand.NewPCG(1, 2))},
		"the end with the last bytes": iotest.DataErrReader(strings.NewReader(stream)),
	} {
		got, err := allPushes(source)
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %v and %v, want %v and the end", name, got, err, want)
		}
	}
}

func TestWhatIsNoPushBreaksTheStream(t *testing.T) {
	for _, stream := range []string{
		"\r\n", "x\r\n", "+OK\r\n", "+PONG\n", ":1\r\n", "$1\r\na\r\n", "*0\r\n", "*1\r\n$4\r\npong\r\n", "*-1\r\n", "*4\r\n", "*3 \r\n", "*03\r\n",
		"*2\r\n$4\r\nponk\r\n$0\r\n\r\n", "*2\r\n$4\r\npong\r\n:0\r\n", "*3\r\n:1\r\n", "*3\r\n$8\r\npmessage\r\n$1\r\na\r\n$1\r\na\r\n",
		"*3\r\n$7\r\nmessage\r\n$-1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\nab\r\n$1\r\na\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\na\r\n+PONG\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$99999999999999999999\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2000000000\r\n",
		"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\n1\r\n", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", "*3\r\n$999999999\r\n", "*3\r\n$\r\n", "*3\r\n$-\r\n", "*3\r\n$1x\r\n",
		">3\r\n", strings.Repeat("x", 2*maxLineBytes),
	} {
		if got, err := allPushes(strings.NewReader(stream)); !errors.Is(err, errNotRESP) || len(got) > 0 {
			t.Errorf("%.60q is read as %v and %v, want errNotRESP", stream, got, err)
		}
	}
	// A stream that ends within a message is a broken link.
	whole := message("a", "payload")
	for end := range len(whole) {
		if got, err := allPushes(strings.NewReader(whole[:end])); !errors.Is(err, io.EOF) || len(got) > 0 {
			t.Errorf("%q is read as %v and %v, want the end", whole[:end], got, err)
		}
	}
	if _, err := allPushes(strings.NewReader("-NOPERM no\r\n")); !isRefusal(err) || err.Error() != "NOPERM no" {
		t.Errorf("an error of Redis is read as %v", err)
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(dst []byte) (int, error) { clear(dst); return len(dst), nil }

func TestAPayloadThatIsTooLargeIsPassedOverAndNotHeld(t *testing.T) {
	head, _, _ := strings.Cut(message("a", ""), "$0")
	size := maxBulkBytes + 1
	r := newRESPReader(io.MultiReader(strings.NewReader(fmt.Sprintf("%s$%d\r\n", head, size)),
		io.LimitReader(zeros{}, int64(size)), strings.NewReader("\r\n"+message("a", "after"))))
	if p, err := r.push(); err != nil || p.kind != pushOversized {
		t.Fatalf("read %v and %v, want an oversized message", p.kind, err)
	}
	if p, err := r.push(); err != nil || string(p.payload) != "after" {
		t.Errorf("then read %q and %v, want the next message", p.payload, err)
	}
	if len(r.buf) != readBufferBytes {
		t.Errorf("the buffer has %d bytes, want it not to have grown", len(r.buf))
	}
}

func TestTheMemoryOfALargeMessageIsNotKept(t *testing.T) {
	r := newRESPReader(strings.NewReader(message("a", strings.Repeat("x", 5<<20)) + message("a", "y") + message("a", strings.Repeat("x", keptReadBufferBytes/2)) + message("a", "z")))
	for _, want := range []int{5<<20 + 100, readBufferBytes, keptReadBufferBytes, keptReadBufferBytes} {
		if _, err := r.push(); err != nil {
			t.Fatal(err)
		}
		r.release()
		if len(r.buf) > want {
			t.Errorf("the buffer has %d bytes, want at most %d", len(r.buf), want)
		}
	}
}

func TestMessagesAreReadWithoutAllocating(t *testing.T) {
	stream := strings.Repeat(message("channel", strings.Repeat("x", 200)), 2000)
	r := newRESPReader(strings.NewReader(stream))
	if got := testing.AllocsPerRun(1000, func() {
		if p, err := r.push(); err != nil || len(p.payload) != 200 {
			t.Fatal(p, err)
		}
	}); got != 0 {
		t.Errorf("%v allocations a message, want none", got)
	}
}

func TestReplies(t *testing.T) {
	stream := ":12\r\n:-3\r\n+OK\r\n$0\r\n\r\n$4\r\na\r\nb\r\n$-1\r\n*-1\r\n*0\r\n-ERR no\r\n*3\r\n$1\r\nx\r\n*2\r\n:1\r\n$-1\r\n+y\r\n*2\r\n-ERR within\r\n:7\r\n:8\r\n"
	want := []any{
		int64(12), nil, int64(-3), nil, "OK", nil, "", nil, "a\r\nb", nil, nil, nil, nil, nil, []any{}, nil, nil, refusal("ERR no"),
		[]any{"x", []any{int64(1), nil}, "y"}, nil, []any{nil, int64(7)}, refusal("ERR within"), int64(8), nil,
	}
	for _, source := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
		if got, err := allReplies(source); !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
			t.Errorf("read %v and %v, want %v and the end", got, err, want)
		}
	}
	for _, broken := range []string{
		"$-2\r\n", "*-2\r\n", ":\r\n", ":1.5\r\n", ":9999999999999999999\r\n", "$3\r\nabcd\r\n", "*99999999\r\n", "$999999999\r\n", "_\r\n", "%1\r\n",
		strings.Repeat("*1\r\n", maxArrayDepth+1) + ":1\r\n",
	} {
		if got, err := allReplies(strings.NewReader(broken)); !errors.Is(err, errNotRESP) {
			t.Errorf("%q is read as %v and %v, want errNotRESP", broken, got, err)
		}
	}
	r := newRESPReader(strings.NewReader(":5\r\n-NOPERM no\r\n:6\r\n+OK\r\n"))
	for _, want := range []struct {
		n   int64
		err error
	}{{5, nil}, {0, refusal("NOPERM no")}, {6, nil}, {0, errNotRESP}} {
		if n, err := r.integer(); n != want.n || !errors.Is(err, want.err) {
			t.Errorf("read %d and %v, want %d and %v", n, err, want.n, want.err)
		}
	}
}

func TestCommandsAreWritten(t *testing.T) {
	got := string(appendCommand([]byte("before"), "SET", []byte("a\r\nb"), "", -12, int64(1<<53)))
	if want := "before*5\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n$3\r\n-12\r\n$16\r\n9007199254740992\r\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	p := &publication{buf: []byte("channelenvelope"), split: 7}
	if got, want := string(p.appendCommand(nil, "PUBLISH", "")), string(appendCommand(nil, "PUBLISH", "channel", "envelope")); got != want {
		t.Errorf("a publication is %q, want %q", got, want)
	}
}

// Whatever comes, and however it is cut: the same is read, nothing is read beyond what is there, and what was read as messages
// is what was written.
func FuzzPushes(f *testing.F) {
	f.Add([]byte(message("a", "payload")+"+PONG\r\n"), uint64(1))
	f.Add([]byte("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"), uint64(2))
	f.Add([]byte("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n-ERR no\r\n"), uint64(3))
	f.Add([]byte(message("a", strings.Repeat("x", readBufferBytes))+message("b", "y")), uint64(4))
	f.Add([]byte("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$134217729\r\nx"), uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		whole, wholeErr := allPushes(bytes.NewReader(stream))
		cut, cutErr := allPushes(&pieces{stream, rand.New(rand.NewPCG(seed, 0))})
		if !reflect.DeepEqual(whole, cut) || fmt.Sprint(wholeErr) != fmt.Sprint(cutErr) {
			t.Fatalf("whole: %v and %v, cut: %v and %v", whole, wholeErr, cut, cutErr)
		}
		rest := stream
		for _, e := range whole {
			if e.kind != pushMessage {
				return
			}
			var ok bool
			if rest, ok = bytes.CutPrefix(rest, []byte(message(e.channel, e.payload))); !ok && !bytes.Contains(rest, []byte("$0")) && !bytes.Contains(rest, []byte("$-")) {
				t.Fatalf("%q begins with no message %v", rest, e)
			}
			if !ok {
				return // a length with leading zeros, which says the same
			}
		}
	})
}

// Replies are read the same however they are cut, and what was read is there.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(":1\r\n-ERR no\r\n+OK\r\n$3\r\nabc\r\n$-1\r\n"), uint64(1))
	f.Add([]byte("*8\r\n$1\r\ne\r\n:2\r\n:1\r\n$0\r\n\r\n:0\r\n:1\r\n$3\r\n\x01\x00{\r\n$4\r\n\x01\x00{}\r\n"), uint64(2))
	f.Add([]byte("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"), uint64(3))
	f.Add([]byte("*1048576\r\n:1\r\n"), uint64(4))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		whole, wholeErr := allReplies(bytes.NewReader(stream))
		cut, cutErr := allReplies(&pieces{stream, rand.New(rand.NewPCG(seed, 0))})
		if !reflect.DeepEqual(whole, cut) || fmt.Sprint(wholeErr) != fmt.Sprint(cutErr) {
			t.Fatalf("whole: %v and %v, cut: %v and %v", whole, wholeErr, cut, cutErr)
		}
	})
}
