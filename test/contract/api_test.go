package contract

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// call makes a request of the server API with a key.
func (g *gateway) call(t *testing.T, method, path, body string) answer {
	t.Helper()
	return ask(t, method, "http://"+g.api+path, body, "Authorization", "Bearer "+apiKey)
}

// ok decodes the answer of a request that must succeed.
func ok(t *testing.T, got answer) frame {
	t.Helper()
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("the server API answers %d %s", got.status, got.body)
	}
	return decode(t, []byte(got.body))
}

func TestServerAPI(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "For backends, on its own port, with one of the keys in --api-key-file as Authorization: Bearer KEY; any of them will do, so keys can be rotated.", func(t *testing.T) {
		address := "http://" + f.a.api + "/v1/rooms/r/messages"
		for _, key := range []string{apiKey, otherKey} {
			ok(t, ask(t, "POST", address, `{"data":1}`, "Authorization", "Bearer "+key))
			ok(t, ask(t, "POST", address, `{"data":1}`, "Authorization", "bearer "+key))
		}
		for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", apiKey}, {"Authorization", "Basic " + apiKey}, {"Authorization", "Bearer " + apiKey + "x"}, {"Authorization", "Bearer"}} {
			got := ask(t, "POST", address, `{"data":1}`, header...)
			wantRefusal(t, got, 401, "unauthorized")
			if got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("the refusal has WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
		}
		for _, path := range []string{"/v1/rooms/r/messages", "/v1/stats"} { // not on the others' ports
			if got := f.a.callAt(t, f.a.public, path); got.status != 404 {
				t.Errorf("the public port answers %s with %d", path, got.status)
			}
			if got := f.a.callAt(t, f.a.ops, path); got.status != 404 {
				t.Errorf("the ops port answers %s with %d", path, got.status)
			}
		}
	})

	holds(t, "What is published here has no from. Ids in paths are percent-encoded, and bodies keep to the protocol's grammar.", func(t *testing.T) {
		c := dial(t, f.b, name("user"))
		for _, room := range []string{name("a/b c?d"), name("é%2F"), name("..")} {
			c.acked(`{"type":"join","room_id":"` + room + `"}`)
			ok(t, f.a.call(t, "POST", "/v1/rooms/"+url.PathEscape(room)+"/messages", `{"data":{"b":1,"a":1e400}}`))
			got := c.message(`{"b":1,"a":1e400}`)
			if _, there := got["from"]; there || got["room_id"] != room {
				t.Errorf("got %v, want a message to %s without from", got, room)
			}
		}
		wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+strings.Repeat("x", 257)+"/messages", `{"data":1}`), 400, "bad_request")
		wantRefusal(t, f.a.call(t, "POST", "/v1/users/a%0ab/messages", `{"data":1}`), 400, "bad_request")
		for _, body := range []string{"{\"data\":\"\xff\"}", `{"data":1}{}`, `{"Data":1}`, `{"data":1,"idempotency_key":""}`, `{"data":1,"idempotency_key":7}`, `[1]`, ``} {
			wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/r/messages", body), 400, "bad_request")
		}
	})

	holds(t, "POST /v1/rooms/{room_id}/messages | {data, idempotency_key?} | {message_id, epoch?, offset?}", func(t *testing.T) {
		plainRoom, log := name("room"), name("log")
		c := dial(t, f.b, name("user"))
		c.join(plainRoom, log)
		receipt := ok(t, f.a.call(t, "POST", "/v1/rooms/"+plainRoom+"/messages", `{"data":"x"}`))
		isFields(t, receipt, `{"message_id":"*"}`)
		if got := c.message(`"x"`); got["message_id"] != receipt["message_id"] {
			t.Errorf("got %v, want the message of %v", got, receipt)
		}
		first := ok(t, f.a.call(t, "POST", "/v1/rooms/"+log+"/messages", `{"data":1,"idempotency_key":"k"}`))
		isFields(t, first, `{"message_id":"*","epoch":"*","offset":1}`)
		again := ok(t, f.b.call(t, "POST", "/v1/rooms/"+log+"/messages", `{"data":1,"idempotency_key":"k"}`))
		isFields(t, again, fmt.Sprintf(`{"message_id":"%s","epoch":"%s","offset":1}`, first["message_id"], first["epoch"]))
		c.message("1")
		c.nothing()
		for _, body := range []string{``, `{`, `[]`, `{}`, `{"data":1,"idempotency_key":1}`, `{"data":1,"idempotency_key":"` + strings.Repeat("x", 129) + `"}`, `{"data":"` + strings.Repeat("x", 70_000) + `"}`} {
			wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+log+"/messages", body), 400, "bad_request")
		}
	})

	holds(t, "POST /v1/users/{user_id}/messages | the same | the same", func(t *testing.T) {
		bob := name("bob")
		one, two := dial(t, f.a, bob), dial(t, f.b, bob)
		receipt := ok(t, f.a.call(t, "POST", "/v1/users/"+bob+"/messages", `{"data":[1,2]}`))
		isFields(t, receipt, `{"message_id":"*","epoch":"*","offset":1}`)
		one.message("[1,2]")
		two.message("[1,2]")
	})

	holds(t, "POST /v1/messages:batch | up to 1000 of these, each with its room_id or target_user_id | a list that answers them one by one, in their order: each a receipt or {code, message}", func(t *testing.T) {
		bob, log := name("bob"), name("log")
		c := dial(t, f.b, bob)
		c.join(log)
		got := f.a.call(t, "POST", "/v1/messages:batch", `[{"room_id":"`+log+`","data":1},{"target_user_id":"`+bob+`","data":2},{"data":3},{"room_id":"`+log+`","target_user_id":"x","data":4},
			{"room_id":"`+name("closed")+`","data":5},{"room_id":"`+log+`"},{"room_id":"`+log+`","data":6},
			7,{"room_id":"`+log+`","data":8,"idempotency_key":""},{"room_id":"`+log+`","data":9,"idempotency_key":9}]`)
		var answers []frame
		if err := json.Unmarshal([]byte(got.body), &answers); err != nil || got.status != 200 {
			t.Fatalf("the batch got %d %s", got.status, got.body)
		}
		var outcomes []string
		for _, a := range answers {
			outcome := a.text("code")
			if a.text("message_id") != "" {
				outcome = fmt.Sprint("offset ", a["offset"])
			} else if a.text("message") == "" {
				t.Errorf("an error has no message: %v", a)
			}
			outcomes = append(outcomes, outcome)
		}
		if want := "offset 1, offset 1, bad_request, bad_request, forbidden, bad_request, offset 2, bad_request, bad_request, bad_request"; strings.Join(outcomes, ", ") != want {
			t.Errorf("the batch is answered with %s, want %s", strings.Join(outcomes, ", "), want)
		}
		for _, data := range []string{"1", "6"} {
			c.find(func(f frame) bool { return f["room_id"] == log && f["data"] == json.Number(data) })
		}
		one := func(int) string { return `{"room_id":"` + log + `","data":0}` }
		wantRefusal(t, f.a.call(t, "POST", "/v1/messages:batch", "[]"), 400, "bad_request")
		wantRefusal(t, f.a.call(t, "POST", "/v1/messages:batch", "["+many(1001, one)+"]"), 400, "bad_request")
		if got := f.a.call(t, "POST", "/v1/messages:batch", "["+many(1000, one)+"]"); got.status != 200 || strings.Count(got.body, "message_id") != 1000 {
			t.Errorf("a batch of 1000 got %d with %d receipts", got.status, strings.Count(got.body, "message_id"))
		}
	})

	holds(t, "GET /v1/rooms/{room_id}/messages?since=&limit= | | {epoch, offset, messages, next?}, oldest first; next is the since of what follows", func(t *testing.T) {
		room := name("log")
		epoch := filled(t, f.a, room, 5)
		path := "/v1/rooms/" + room + "/messages"
		page := ok(t, f.b.call(t, "GET", path+"?limit=3", ""))
		if page["epoch"] != epoch || page.number("offset") != 5 || offsets(page) != "1 2 3" || page.number("next") != 3 {
			t.Errorf("the first page is %v", page)
		}
		if page = ok(t, f.b.call(t, "GET", path+"?limit=3&since=3", "")); offsets(page) != "4 5" || page["next"] != nil {
			t.Errorf("the second page is %v", page)
		}
		if all := ok(t, f.b.call(t, "GET", path, "")); offsets(all) != "1 2 3 4 5" {
			t.Errorf("all is %v", all)
		}
		for _, query := range []string{"?since=x", "?since=-1", "?limit=1001", "?limit=x"} {
			wantRefusal(t, f.b.call(t, "GET", path+query, ""), 400, "bad_request")
		}
		wantRefusal(t, f.b.call(t, "GET", "/v1/rooms/without/messages", ""), 400, "bad_request")
		room, data := name("log"), `{"html":"<b>&</b> ","n":1.00}` // not a byte of it changes
		ok(t, f.a.call(t, "POST", "/v1/rooms/"+room+"/messages", `{"data":`+data+`}`))
		if got := f.b.call(t, "GET", "/v1/rooms/"+room+"/messages", ""); !strings.Contains(got.body, `"data":`+data+`}`) {
			t.Errorf("the history has %s, want the data %s", got.body, data)
		}
	})

	holds(t, "GET /v1/rooms/{room_id}/members?limit=&next= | | {members, count, next?}", func(t *testing.T) {
		room := name("present")
		for _, user := range []string{"-1", "-2", "-3"} {
			dial(t, f.a, room+user).join(room)
		}
		path := "/v1/rooms/" + room + "/members"
		eventually(t, "all are listed", func() bool {
			all := ok(t, f.b.call(t, "GET", path, ""))
			return members(all) == room+"-1×1 "+room+"-2×1 "+room+"-3×1" && all.number("count") == 3 && all["next"] == nil
		})
		page := ok(t, f.b.call(t, "GET", path+"?limit=2", ""))
		rest := ok(t, f.b.call(t, "GET", path+"?limit=2&next="+url.QueryEscape(page.text("next")), ""))
		if members(page) != room+"-1×1 "+room+"-2×1" || members(rest) != room+"-3×1" {
			t.Errorf("the pages are %v and %v", page, rest)
		}
		wantRefusal(t, f.b.call(t, "GET", "/v1/rooms/without/members", ""), 400, "bad_request")
	})

	holds(t, "DELETE /v1/users/{user_id}/connections | | 204; the user's connections are closed on every gateway, with 4403", func(t *testing.T) {
		bob := name("bob")
		one, two := dial(t, f.a, bob), dial(t, f.another(t), bob)
		if got := f.b.call(t, "DELETE", "/v1/users/"+bob+"/connections", ""); got.status != 204 {
			t.Fatalf("DELETE got %v", got)
		}
		one.closed(4403)
		two.closed(4403)
		if got := f.b.call(t, "DELETE", "/v1/users/"+name("nobody")+"/connections", ""); got.status != 204 {
			t.Errorf("DELETE of nobody got %v", got)
		}
	})

	holds(t, "GET /v1/stats | | what the whole cluster carries", func(t *testing.T) {
		r := startRedis(t)
		flags := []string{"--auth=trusted", "--backplane=" + r.url(), "--api-listen=127.0.0.1:0", "--api-key-file=" + file(t, "keys", apiKey)}
		a, b := startGateway(t, "", append(flags, "--node=stats-a")...), startGateway(t, "", append(flags, "--node=stats-b")...)
		for _, g := range []*gateway{a, b, b} {
			dial(t, g, name("user")).join("room")
		}
		eventually(t, "the figures of both gateways are there", func() bool {
			got := ok(t, a.call(t, "GET", "/v1/stats", ""))
			all, _ := json.Marshal(got["gateways"])
			return got.number("nodes") == 2 && got.number("connections") == 3 && strings.Contains(string(all), "stats-a") && strings.Contains(string(all), "stats-b")
		})
	})

	holds(t, "GET /openapi.yaml | | the description of all this (OpenAPI 3.1), without a key", func(t *testing.T) {
		got := ask(t, "GET", "http://"+f.a.api+"/openapi.yaml", "")
		if got.status != 200 || !strings.HasPrefix(got.body, "openapi: 3.1") {
			t.Fatalf("/openapi.yaml is %d %.100s", got.status, got.body)
		}
		for _, path := range []string{"/v1/rooms/{room_id}/messages", "/v1/users/{user_id}/messages", "/v1/messages:batch", "/v1/rooms/{room_id}/members", "/v1/users/{user_id}/connections", "/v1/stats"} {
			if !strings.Contains(got.body, "\n  "+path+":\n") {
				t.Errorf("/openapi.yaml does not have %s", path)
			}
		}
	})

	holds(t, "Errors are {code, message} with the codes of the protocol: 400 bad_request, 401 unauthorized, 403 forbidden, 404 for a path that is not there, 405 for a method that it does not have, 409 conflict, 503 unavailable with Retry-After, 500 internal.", func(t *testing.T) {
		log := name("log")
		wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+log+"/messages", `{}`), 400, "bad_request")
		wantRefusal(t, ask(t, "GET", "http://"+f.a.api+"/v1/stats", ""), 401, "unauthorized")
		wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+name("closed")+"/messages", `{"data":1}`), 403, "forbidden")
		for _, path := range []string{"/", "/v1", "/v2/stats", "/v1/rooms"} {
			wantRefusal(t, f.a.call(t, "GET", path, ""), 404, "bad_request")
		}
		got := f.a.call(t, "PUT", "/v1/rooms/"+log+"/messages", `{"data":1}`)
		wantRefusal(t, got, 405, "bad_request")
		if got.header.Get("Allow") != "GET, POST" {
			t.Errorf("Allow says %q", got.header.Get("Allow"))
		}
		ok(t, f.a.call(t, "POST", "/v1/rooms/"+log+"/messages", `{"data":1,"idempotency_key":"k"}`))
		wantRefusal(t, f.a.call(t, "POST", "/v1/rooms/"+log+"/messages", `{"data":2,"idempotency_key":"k"}`), 409, "conflict")
	})

	holds(t, "202 with code: unconfirmed and a receipt means stored, but confirmed by fewer replicas than the policy asks for.", func(t *testing.T) {
		room := name("replicated")
		got := f.a.call(t, "POST", "/v1/rooms/"+room+"/messages", `{"data":1}`)
		if got.status != 202 {
			t.Fatalf("the publish got %d %s", got.status, got.body)
		}
		isFields(t, decode(t, []byte(got.body)), `{"message_id":"*","epoch":"*","offset":1,"code":"unconfirmed","message":"*"}`)
	})

	holds(t, "An idempotency key belongs to the API and the target: all backends share it.", func(t *testing.T) {
		room := name("log")
		address := "/v1/rooms/" + room + "/messages"
		first := ok(t, ask(t, "POST", "http://"+f.a.api+address, `{"data":1,"idempotency_key":"k"}`, "Authorization", "Bearer "+apiKey))
		second := ok(t, ask(t, "POST", "http://"+f.b.api+address, `{"data":1,"idempotency_key":"k"}`, "Authorization", "Bearer "+otherKey))
		if first["message_id"] != second["message_id"] {
			t.Errorf("the receipts are %v and %v, want one message", first, second)
		}
		c := dial(t, f.a, name("user"))
		c.join(room)
		if got := c.acked(`{"type":"publish","room_id":"` + room + `","data":2,"idempotency_key":"k"}`); got.number("offset") != 2 {
			t.Errorf("a user's key was taken for the API's: %v", got)
		}
	})
}

// callAt makes the same request at another port.
func (g *gateway) callAt(t *testing.T, port, path string) answer {
	t.Helper()
	return ask(t, "GET", "http://"+port+path, "", "Authorization", "Bearer "+apiKey)
}

// another starts one more gateway of the fleet.
func (f *fleet) another(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, fleetConfig, "--auth=trusted", "--backplane="+f.redis.url(), "--cluster=contract", "--node="+name("late"))
}
