package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestEnvelopesComeBackAsTheyWent(t *testing.T) {
	for _, c := range []struct{ exclude, body, wantExclude string }{
		{"", "{}", ""},
		{"c-1", `{"type":"message"}`, "c-1"},
		{strings.Repeat("x", 255), "{}", strings.Repeat("x", 255)},
		{strings.Repeat("x", 256), "{}", ""},
		{"c", strings.Repeat("\x00\xff", 1<<16), "c"},
	} {
		got, err := decodeEnvelope(string(appendEnvelope(nil, c.exclude, []byte(c.body))))
		if err != nil || got.exclude != c.wantExclude || got.body != c.body {
			t.Errorf("an envelope with exclude %.10q and %d bytes came back as %.10q and %d bytes, %v",
				c.exclude, len(c.body), got.exclude, len(got.body), err)
		}
	}
}

func TestPositionsAreRead(t *testing.T) {
	for _, c := range []struct {
		data string
		want envelope
	}{
		{"\x02w-17:1:\x01\x00{}", envelope{epoch: "w-17", offset: 1, body: "{}"}},
		{"\x02e:9007199254740991:\x01\x01\x03c-1{}", envelope{epoch: "e", offset: 1<<53 - 1, exclude: "c-1", body: "{}"}},
	} {
		if got, err := decodeEnvelope(c.data); err != nil || got != c.want {
			t.Errorf("%q is %+v, %v, want %+v", c.data, got, err, c.want)
		}
	}
}

func TestWhatIsNoEnvelopeIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       error
	}{
		{"nothing", "", errEnvelopeBroken},
		{"one byte", "\x01", errEnvelopeBroken},
		{"plain JSON", `{"type":"message"}`, errEnvelopeVersion},
		{"a later version", "\x03\x00{}", errEnvelopeVersion},
		{"a place before an unknown flag", "\x02e:1:\x01\x80{}", errEnvelopeVersion},
		{"a place before a place", "\x02e:1:\x02e:1:\x01\x00{}", errEnvelopeVersion},
		{"a position without an epoch", "\x02:1:\x01\x00{}", errEnvelopeBroken},
		{"a position without an offset", "\x02e::\x01\x00{}", errEnvelopeBroken},
		{"a position without an end", "\x02e:1", errEnvelopeBroken},
		{"an offset of 0", "\x02e:0:\x01\x00{}", errEnvelopeBroken},
		{"an offset with a leading zero", "\x02e:01:\x01\x00{}", errEnvelopeBroken},
		{"an offset that is no number", "\x02e:1x:\x01\x00{}", errEnvelopeBroken},
		{"an offset over the bound", "\x02e:9007199254740992:\x01\x00{}", errEnvelopeBroken},
		{"an epoch without end", "\x02" + strings.Repeat("e", 100) + ":1:\x01\x00{}", errEnvelopeBroken},
		{"a position and no body", "\x02e:1:", errEnvelopeBroken},
		{"an unknown flag", "\x01\x80{}", errEnvelopeVersion},
		{"no body", "\x01\x00", errEnvelopeBroken},
		{"an empty exclude", "\x01\x01\x00{}", errEnvelopeBroken},
		{"an exclude longer than the rest", "\x01\x01\x7fabc", errEnvelopeBroken},
		{"an exclude and no body", "\x01\x01\x03abc", errEnvelopeBroken},
		{"a length without end", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", errEnvelopeBroken},
		{"a length beyond all bounds", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01{}", errEnvelopeBroken},
	} {
		if got, err := decodeEnvelope(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: decoded to %+v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add("\x01\x00{}")
	f.Add("\x01\x01\x03c-1{}")
	f.Add("\x02\x00{}")
	f.Add("\x01\x01\xff")
	f.Add("\x02e:17:\x01\x01\x03c-1{}")
	f.Add("\x01\x021:5:alice0:3:bob")
	f.Add("")
	f.Fuzz(func(t *testing.T, data string) {
		e, err := decodeEnvelope(data)
		if err != nil {
			return
		}
		if e.body == "" || len(e.exclude) > maxExcludeBytes || len(e.body)+len(e.exclude)+len(e.epoch) > len(data) {
			t.Errorf("%q was decoded to %+v", data, e)
		}
		if (e.epoch == "") != (e.offset == 0) || e.offset < 0 || e.offset > maxOffset {
			t.Errorf("%q was decoded to the position %q, %d", data, e.epoch, e.offset)
		}
		var again []byte
		if e.epoch != "" {
			again = fmt.Appendf(again, "\x02%s:%d:", e.epoch, e.offset)
		}
		flags := len(again) + 1
		again = appendEnvelope(again, e.exclude, []byte(e.body))
		if e.changes {
			again[flags] |= flagChanges
			readChanges(t, e.body)
		}
		if got, err := decodeEnvelope(string(again)); err != nil || got != e {
			t.Errorf("%+v encoded and decoded is %+v, %v", e, got, err)
		}
	})
}

// readChanges holds that what is read of changes is all that they say.
func readChanges(t *testing.T, text string) {
	t.Helper()
	changes, err := parseChanges(text)
	if err != nil {
		return
	}
	size := 0
	var again []byte
	for _, c := range changes {
		if c.User == "" || c.Connections < 0 {
			t.Errorf("%q says of %+v", text, c)
		}
		size += len(c.User)
		again = fmt.Appendf(again, "%d:%d:%s", c.Connections, len(c.User), c.User)
	}
	if got, err := parseChanges(string(again)); err != nil || !slices.Equal(got, changes) || size > len(text) {
		t.Errorf("%q says %+v, and written again %+v, %v", text, changes, got, err)
	}
}
