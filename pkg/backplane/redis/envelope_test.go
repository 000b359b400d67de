package redis

import (
	"errors"
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

func TestWhatIsNoEnvelopeIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       error
	}{
		{"nothing", "", errEnvelopeBroken},
		{"one byte", "\x01", errEnvelopeBroken},
		{"plain JSON", `{"type":"message"}`, errEnvelopeVersion},
		{"a later version", "\x02\x00{}", errEnvelopeVersion},
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
	f.Add("")
	f.Fuzz(func(t *testing.T, data string) {
		e, err := decodeEnvelope(data)
		if err != nil {
			return
		}
		if e.body == "" || len(e.exclude) > maxExcludeBytes || len(e.body)+len(e.exclude) > len(data) {
			t.Errorf("%q was decoded to %+v", data, e)
		}
		again, err := decodeEnvelope(string(appendEnvelope(nil, e.exclude, []byte(e.body))))
		if err != nil || again != e {
			t.Errorf("%+v encoded and decoded is %+v, %v", e, again, err)
		}
	})
}
