package contract

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func quoted(text string) string { return `"` + text + `"` }

func TestGrammar(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "room_id, user_id: 1 to 256 bytes of UTF-8 without control characters … All are strings. Bytes count, not characters: é is two.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for name, id := range map[string]string{
			"256 bytes":          strings.Repeat("x", 256),
			"128 characters é":   strings.Repeat("é", 128),
			"one byte":           "x",
			"spaces and slashes": " a/b?c#d%20 ",
			"braces and stars":   "{a}*[b]:c",
			"an emoji":           "👋🏽",
			"a quotation mark":   `\"\\`,
			"an escape":          `\u00e9\ud83d\udc4b`,
		} {
			if got, want := c.acked(`{"type":"join","room_id":"`+id+`"}`), decode(t, []byte(`{"id":"`+id+`"}`))["id"]; got["room_id"] != want {
				t.Errorf("the ack of a room_id of %s has %q, want %q", name, got["room_id"], want)
			}
		}
		for _, id := range map[string]string{
			"no byte":                `""`,
			"257 bytes":              quoted(strings.Repeat("x", 257)),
			"129 characters é":       quoted(strings.Repeat("é", 129)),
			"a line break":           `"a\nb"`,
			"NUL":                    `"a\u0000"`,
			"DEL":                    `"a\u007f"`,
			"a control character C1": `"a\u0085"`,
			"a number":               `1`,
			"true":                   `true`,
			"a list":                 `["a"]`,
			"an object":              `{"a":1}`,
		} {
			c.refused("bad_request", `{"type":"join","room_id":`+id+`}`, "room_id")
			c.refused("bad_request", `{"type":"publish","data":1,"target_user_id":`+id+`}`, "target_user_id")
			c.acked(`{"type":"ping"}`) // so that ten bad frames in a row are not the matter
		}
		for _, user := range []string{strings.Repeat("x", 256), "é", "a/b c"} {
			if got := dial(t, f.a, user).user; got != user {
				t.Errorf("connected as %q, want %q", got, user)
			}
		}
		for _, user := range []string{strings.Repeat("x", 257), "a\nb", "a\x7f", "\xff"} {
			wantRefusal(t, handshake(t, f.a, "/ws?user_id="+url.QueryEscape(user)), 400, "bad_request")
		}
	})

	holds(t, "Half a surrogate pair (\\ud83d alone) counts as U+FFFD.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		if got := c.acked(`{"type":"join","room_id":"half \ud83d"}`); got["room_id"] != "half \ufffd" {
			t.Errorf("the ack's room_id is %q", got["room_id"])
		}
	})

	holds(t, "id: 1 to 64 bytes. idempotency_key: 1 to 128 bytes.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		for _, id := range []string{"x", strings.Repeat("x", 64), strings.Repeat("é", 32), `\u0000`, "a b"} {
			c.send(`{"type":"ping","id":"` + id + `"}`)
			isFields(t, c.next(), `{"type":"ack","id":"`+id+`"}`)
		}
		for _, id := range []string{`""`, quoted(strings.Repeat("x", 65)), quoted(strings.Repeat("é", 33)), `1`, `{}`} {
			c.send(`{"type":"ping","id":` + id + `}`)
			got := c.next()
			wantError(t, got, "bad_request", "id")
			if got["id"] != nil {
				t.Errorf("the error of an id that is none carries an id: %v", got)
			}
		}
		room := name("open")
		for _, key := range []string{"x", strings.Repeat("x", 128), strings.Repeat("é", 64)} {
			c.acked(`{"type":"publish","room_id":"` + room + `","data":1,"idempotency_key":"` + key + `"}`)
		}
		for _, key := range []string{`""`, quoted(strings.Repeat("x", 129)), `1`, `true`} {
			c.refused("bad_request", `{"type":"publish","room_id":"`+room+`","data":1,"idempotency_key":`+key+`}`, "idempotency_key")
		}
	})

	holds(t, "epoch, message_id, connection_id and next are opaque strings.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		c.join(room)
		_, first := c.publish(room)
		c.publish(room)
		page := c.acked(`{"type":"history","room_id":"` + room + `","limit":1}`)
		for what, value := range map[string]any{"epoch": first["epoch"], "message_id": first["message_id"], "connection_id": c.welcome["connection_id"], "next": page["next"]} {
			if text, ok := value.(string); !ok || text == "" {
				t.Errorf("%s is %v, want a string", what, value)
			}
		}
		c.refused("bad_request", `{"type":"join","room_id":"`+room+`","recover":{"epoch":1,"offset":1}}`, "epoch")
		c.refused("bad_request", `{"type":"history","room_id":"`+room+`","next":1}`, "next")
		c.refused("bad_request", `{"type":"history","room_id":"`+room+`","next":"made up"}`, "next")
	})

	holds(t, "offset is an integer from 1 to 2^53 − 1. Times are milliseconds since 1970.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		before := nowMillis()
		c.join(room)
		data, ack := c.publish(room)
		got := c.message(data)
		if ack.number("offset") != 1 || got.number("offset") != 1 {
			t.Errorf("the first offset is %v and %v, want 1", ack["offset"], got["offset"])
		}
		for what, at := range map[string]int64{"ts": got.number("ts"), "server_time": c.welcome.number("server_time")} {
			if at < before-60_000 || at > nowMillis()+60_000 {
				t.Errorf("%s is %d, want a time near %d", what, at, before)
			}
		}
		epoch := ack.text("epoch")
		for _, offset := range []string{"0", "1", "9007199254740991"} {
			c.acked(`{"type":"join","room_id":"` + room + `","recover":{"epoch":"` + epoch + `","offset":` + offset + `}}`)
			c.acked(`{"type":"history","room_id":"` + room + `","since":` + offset + `}`)
		}
		for _, offset := range []string{"9007199254740992", "-1", "1.5", "1e3", `"1"`, "9223372036854775808"} {
			c.refused("bad_request", `{"type":"join","room_id":"`+room+`","recover":{"epoch":"`+epoch+`","offset":`+offset+`}}`, "offset")
			c.refused("bad_request", `{"type":"history","room_id":"`+room+`","since":`+offset+`}`, "since")
			c.acked(`{"type":"ping"}`)
		}
	})

	holds(t, "data is any JSON value. It is passed on byte for byte as it came: numbers keep their digits, objects their order and their duplicate names.", func(t *testing.T) {
		alice, bob := dial(t, f.a, name("alice")), dial(t, f.b, name("bob"))
		plainRoom, logRoom := name("room"), name("log")
		for _, c := range []*client{alice, bob} {
			c.join(plainRoom, logRoom)
		}
		for what, data := range map[string]string{
			"text":                               `"hello"`,
			"nothing":                            `""`,
			"null":                               `null`,
			"true":                               `true`,
			"false":                              `false`,
			"zero":                               `0`,
			"minus zero":                         `-0`,
			"a number beyond a double":           `1e400`,
			"a number with more digits than fit": `123456789012345678901234567890.000`,
			"an exponent with a plus":            `1E+2`,
			"a list":                             `[1,"two",[],{}]`,
			"an object whose order counts":       `{"b":1,"a":2}`,
			"duplicate names":                    `{"a":1,"a":2}`,
			"names of our own fields":            `{"type":"publish","data":{"data":1},"room_id":"x"}`,
			"escapes as they were written":       `"\u0041\u00e9\/\ud83d\udc4b\b\f\n\r\t"`,
			"a lone surrogate":                   `"\ud800"`,
			"NUL":                                `"\u0000"`,
			"line separators":                    "\"\u2028\u2029\"",
			"characters beyond the basic plane":  `"👋🏽"`,
			"what HTML would escape":             `"<script>&amp;</script>"`,
			"a name with escapes":                `{"\u0061\"\\":1}`,
			"60,000 characters":                  quoted(strings.Repeat("x", 60_000)),
		} {
			for _, target := range []string{`"room_id":"` + plainRoom, `"room_id":"` + logRoom, `"target_user_id":"` + bob.user} {
				alice.acked(`{"type":"publish",` + target + `","data":` + data + `}`)
				bob.message(data)
			}
			bob.send(`{"type":"history","id":"log","room_id":"` + logRoom + `","limit":1,"reverse":true}`)
			if got := bob.raw(); !strings.Contains(string(got), `"data":`+data+`}`) {
				t.Errorf("the history of %s has %.300s", what, got)
			}
		}
	})

	holds(t, "White space that means nothing may go.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("room")
		c.join(room)
		c.send(" {\t\"type\" : \"publish\" ,\n\"room_id\":\"" + room + "\",\r\n\"data\" : [ 1 , { \"a\" : 2 } ] } \n")
		if got := strings.Join(strings.Fields(dataOf(t, c.raw())), ""); got != `[1,{"a":2}]` {
			t.Errorf("the data came as %s", got)
		}
	})

	holds(t, "Arrays and objects may be nested 1024 deep.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("room")
		c.join(room)
		nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
		deepest := nested(1024)
		c.send(`{"type":"publish","room_id":"` + room + `","data":` + deepest + `}`)
		c.message(deepest)
		c.refused("bad_request", `{"type":"publish","room_id":"`+room+`","data":`+nested(1025)+`}`)
		c.refused("bad_request", `{"type":"publish","room_id":"`+room+`","data":`+strings.Repeat(`{"a":`, 1025)+"1"+strings.Repeat("}", 1025)+`}`)
		c.refused("bad_request", `{"type":"ping","unknown":`+nested(30_000)+`}`)
		c.nothing()
	})

	holds(t, "Whatever is out of range is a bad_request whose message names the field.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("log")
		for i, test := range []struct{ command, field string }{
			{`{"type":"join"}`, "room_id"},
			{`{"type":"leave"}`, "room_id"},
			{`{"type":"publish","room_id":"` + room + `"}`, "data"},
			{`{"type":"publish","data":1}`, "room_id"},
			{`{"type":"publish","room_id":"` + room + `","data":1,"echo":"no"}`, "echo"},
			{`{"type":"join","room_id":"` + room + `","history":0}`, "history"},
			{`{"type":"join","room_id":"` + room + `","history":1001}`, "history"},
			{`{"type":"join","room_id":"` + room + `","history":true}`, "history"},
			{`{"type":"join","room_id":"` + room + `","presence":1}`, "presence"},
			{`{"type":"join","room_id":"` + room + `","recover":true}`, "recover"},
			{`{"type":"join","room_id":"` + room + `","recover":{"offset":1}}`, "epoch"},
			{`{"type":"join","room_id":"` + room + `","recover":{"epoch":"e"}}`, "offset"},
			{`{"type":"presence"}`, "room_id"},
			{`{"type":"presence","room_id":"` + room + `","limit":1001}`, "limit"},
			{`{"type":"history"}`, "room_id"},
			{`{"type":"history","room_id":"` + room + `","limit":0}`, "limit"},
			{`{"type":"history","room_id":"` + room + `","limit":1001}`, "limit"},
			{`{"type":"history","room_id":"` + room + `","reverse":"yes"}`, "reverse"},
			{`{"type":"history","room_id":"` + room + `","inbox":1}`, "inbox"},
			{`{"type":"auth"}`, "token"},
			{`{"type":"auth","token":1}`, "token"},
		} {
			if i%5 == 4 {
				c.acked(`{"type":"ping"}`)
			}
			c.refused("bad_request", test.command, test.field)
		}
		c.send(`{"id":"1"}`)
		wantError(t, c.next(), "bad_request", "type")
		c.send(`{"type":1}`)
		wantError(t, c.next(), "bad_request", "type")
	})

	holds(t, "Unknown fields are ignored. A field that is null counts as absent (but \"data\":null is data). Of two fields with the same name the last one counts.", func(t *testing.T) {
		c := dial(t, f.a, name("user"))
		room := name("room")
		c.acked(`{"type":"join","room_id":"` + room + `","colour":"red","nested":{"type":"leave","id":"x"},"recover":null,"history":null,"presence":null}`)
		c.send(`{"type":"publish","room_id":"` + room + `","target_user_id":null,"echo":null,"idempotency_key":null,"data":null,"id":null}`)
		c.message("null")
		c.nothing() // an id of null asked for no ack
		c.acked(`{"type":"leave","type":"join","room_id":"x","room_id":"` + room + `"}`)
		c.send(`{"type":"publish","data":1,"room_id":"` + room + `","data":2}`)
		c.message("2")
	})
}

func nowMillis() int64 { return time.Now().UnixMilli() }

// many joins count values with a comma.
func many(count int, value func(i int) string) string {
	all := make([]string, count)
	for i := range all {
		all[i] = value(i)
	}
	return strings.Join(all, ",")
}
