package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

// backend calls the server API of a node and holds every request that succeeds, and every answer, to openapi.yaml.
type backend struct {
	t        *testing.T
	node     *node
	key      string
	document routers.Router
}

func newBackend(t *testing.T, n *node, key string) *backend {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Fatalf("openapi.yaml is no valid OpenAPI document: %v", err)
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	return &backend{t, n, key, router}
}

// call returns the status and the body of the answer.
func (b *backend) call(method, path, body string) (int, string) {
	b.t.Helper()
	make := func() *http.Request {
		r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.node.api.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+b.key)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		return r
	}
	response, err := http.DefaultClient.Do(make())
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.check(make(), response, answer)
	return response.StatusCode, string(answer)
}

// check holds what was asked and answered to openapi.yaml.
func (b *backend) check(request *http.Request, response *http.Response, answer []byte) {
	b.t.Helper()
	route, params, err := b.document.FindRoute(request)
	if err != nil {
		b.t.Fatalf("openapi.yaml does not know %s %s: %v", request.Method, request.URL, err)
	}
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if response.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(b.t.Context(), input); err != nil {
			b.t.Errorf("the gateway allows what openapi.yaml does not: %v", err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: response.StatusCode, Header: response.Header, Options: input.Options}
	output.SetBodyBytes(answer)
	if err := openapi3filter.ValidateResponse(b.t.Context(), output); err != nil {
		b.t.Errorf("the answer to %s %s is not as openapi.yaml says: %v", request.Method, request.URL, err)
	}
}

// want calls and compares; the wanted body may leave message_id, epoch and other fields out.
func (b *backend) want(method, path, body string, status int, wanted string) map[string]any {
	b.t.Helper()
	got, answer := b.call(method, path, body)
	if got != status {
		b.t.Fatalf("%s %s with %s: status %d %s, want %d", method, path, body, got, answer, status)
	}
	fields := map[string]any{}
	if answer != "" {
		fields = decode(b.t, []byte(answer))
	}
	if wanted != "" {
		for name, value := range decode(b.t, []byte(wanted)) {
			if diff := cmp.Diff(value, fields[name]); diff != "" {
				b.t.Fatalf("%s of the answer to %s %s with %s (-want +got):\n%s", name, method, path, body, diff)
			}
		}
	}
	return fields
}

// wantMessage reads the client's next frame, which must be a message with this data and come from nobody.
func wantMessage(t *testing.T, c *client, target, id, data string) map[string]any {
	t.Helper()
	got := c.next()
	want := decode(t, []byte(`{"type":"message","`+target+`":"`+id+`","data":`+data+`}`))
	want["ts"], want["message_id"] = got["ts"], got["message_id"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the next frame (-want +got):\n%s", diff)
	}
	return got
}

func withAPI(t *testing.T, keys string) (file string, change func(*settings.Settings)) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, func(s *settings.Settings) {
		s.APIListen, s.APIKeyFile = "127.0.0.1:0", file
		s.Rooms = []settings.RoomPolicy{
			{Match: "kept", Join: settings.AccessAnyone, Publish: settings.AccessServer, History: &settings.History{Size: 10, TTL: 60e9}},
			{Match: "closed", Join: settings.AccessAnyone, Publish: settings.AccessNone},
		}
	}
}

func TestTheServerAPIPublishes(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	n := start(t, "memory://", change)
	b, alice := newBackend(t, n, "secret"), n.dial(t, "alice")
	alice.join("room/1 ü")

	t.Run("to a room", func(t *testing.T) {
		receipt := b.want("POST", "/v1/rooms/room%2F1%20%C3%BC/messages", `{"data":{"n":1}}`, 200, "")
		if got := wantMessage(t, alice, "room_id", "room/1 ü", `{"n":1}`); got["message_id"] != receipt["message_id"] {
			t.Errorf("got %v, want the message of receipt %v", got, receipt)
		}
	})
	t.Run("to a user", func(t *testing.T) {
		b.want("POST", "/v1/users/alice/messages", `{"data":"hello"}`, 200, "")
		wantMessage(t, alice, "target_user_id", "alice", `"hello"`)
	})
	t.Run("a batch, each message answered by itself", func(t *testing.T) {
		status, answer := b.call("POST", "/v1/messages:batch", `[{"target_user_id":"alice","data":1},{"data":2},{"target_user_id":"alice","data":3}]`)
		var receipts []apiReceipt
		if err := json.Unmarshal([]byte(answer), &receipts); err != nil || status != 200 || len(receipts) != 3 {
			t.Fatalf("%d %s", status, answer)
		}
		if receipts[0].MessageID == "" || receipts[1].Code != protocol.CodeBadRequest || receipts[2].MessageID == "" {
			t.Errorf("receipts %v, want the second alone to have failed", receipts)
		}
		wantMessage(t, alice, "target_user_id", "alice", `1`)
		wantMessage(t, alice, "target_user_id", "alice", `3`)
	})
	t.Run("a batch that is no batch", func(t *testing.T) {
		b.want("POST", "/v1/messages:batch", `[]`, 400, `{"code":"bad_request","message":"a batch must have 1 to 1000 messages"}`)
	})
	t.Run("what is wrong is said", func(t *testing.T) {
		for body, message := range map[string]string{
			`{}`: "data is missing: give any JSON value",
			`{"data":1,"idempotency_key":"` + strings.Repeat("k", 129) + `"}`: "idempotency_key must be at most 128 bytes",
			`{"data":"` + strings.Repeat("x", 70000) + `"}`:                   "the body is larger than max_message_bytes allows",
			`{"data":"` + strings.Repeat("x", 65536+100) + `"}`:               "data is larger than max_message_bytes",
			`{"data":1,"idempotency_key":""}`:                                 "idempotency_key must not be empty",
			"{\"data\":\"\xff\"}":                                             "the body is not valid UTF-8",
			`{"data":1} {"data":2}`:                                           "the body is not valid JSON",
		} {
			b.want("POST", "/v1/rooms/r/messages", body, 400, `{"code":"bad_request","message":"`+message+`"}`)
		}
		b.want("POST", "/v1/rooms/r/messages", `{`, 400, "")
		b.want("POST", "/v1/rooms/"+strings.Repeat("r", 257)+"/messages", `{"data":1}`, 400, `{"code":"bad_request","message":"room_id must be at most 256 bytes"}`)
		b.want("POST", "/v1/rooms/closed/messages", `{"data":1}`, 403, `{"code":"forbidden","message":"nobody may publish to this room"}`)
	})
}

func TestTheServerAPIReadsHistory(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	n := start(t, "memory://", change)
	b := newBackend(t, n, "secret")
	for i := range 12 {
		b.want("POST", "/v1/rooms/kept/messages", fmt.Sprintf(`{"data":%d}`, i+1), 200, fmt.Sprintf(`{"offset":%d}`, i+1))
	}
	first := b.want("GET", "/v1/rooms/kept/messages?limit=4", "", 200, `{"offset":12,"next":6}`)
	if messages := first["messages"].([]any); len(messages) != 4 || messages[0].(map[string]any)["offset"] != json.Number("3") {
		t.Errorf("messages %v, want those of offsets 3 to 6, since ten are kept", messages)
	}
	rest := b.want("GET", "/v1/rooms/kept/messages?since=6", "", 200, `{"offset":12}`)
	if messages := rest["messages"].([]any); len(messages) != 6 || rest["next"] != nil {
		t.Errorf("%d messages and next %v, want the last 6 and no more", len(messages), rest["next"])
	}
	b.want("GET", "/v1/rooms/kept/messages?limit=x", "", 400, `{"code":"bad_request","message":"limit must be a whole number from 0 to 1000"}`)
	b.want("GET", "/v1/rooms/other/messages", "", 400, `{"code":"bad_request"}`)
}

func TestTheServerAPIRepeatsWithAnIdempotencyKeyOnce(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	n := start(t, "memory://", change)
	b, alice := newBackend(t, n, "secret"), n.dial(t, "alice")
	first := b.want("POST", "/v1/users/alice/messages", `{"data":1,"idempotency_key":"k"}`, 200, "")
	again := b.want("POST", "/v1/users/alice/messages", `{"data":1,"idempotency_key":"k"}`, 200, "")
	if first["message_id"] != again["message_id"] {
		t.Errorf("the repeat was answered with %v, want the first receipt %v", again, first)
	}
	b.want("POST", "/v1/users/alice/messages", `{"data":2,"idempotency_key":"k"}`, 409, `{"code":"conflict"}`)
	wantMessage(t, alice, "target_user_id", "alice", `1`)
	alice.nothing()
}

func TestTheServerAPIDisconnectsAUserOnEveryGateway(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	nodes, _ := startFleet(t, 2, change)
	alice1, alice2, bob := nodes[0].dial(t, "alice"), nodes[1].dial(t, "alice"), nodes[1].dial(t, "bob")
	newBackend(t, nodes[0], "secret").want("DELETE", "/v1/users/alice/connections", "", 204, "")
	alice1.wantClose(protocol.CloseForbidden)
	alice2.wantClose(protocol.CloseForbidden)
	bob.do(`{"type":"ping","id":"1"}`, `{"type":"ack","id":"1"}`)
}

func TestTheServerAPILetsNobodyInWithoutAKey(t *testing.T) {
	file, change := withAPI(t, "# the old one\nold\n\nnew\n")
	n := start(t, "memory://", change)
	for _, key := range []string{"old", "new"} {
		newBackend(t, n, key).want("POST", "/v1/rooms/r/messages", `{"data":1}`, 200, "")
	}
	for _, key := range []string{"", "wrong", "# the old one", "ol"} {
		newBackend(t, n, key).want("POST", "/v1/rooms/r/messages", `{"data":1}`, 401, `{"code":"unauthorized"}`)
	}
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.apiKeys.load(file); err != nil {
		t.Fatal(err)
	}
	newBackend(t, n, "old").want("POST", "/v1/rooms/r/messages", `{"data":1}`, 401, `{"code":"unauthorized"}`)
	newBackend(t, n, "new").want("POST", "/v1/rooms/r/messages", `{"data":1}`, 200, "")
	if got := request(t, http.MethodGet, "http://"+n.api.Addr().String()+"/openapi.yaml", nil); got.status != http.StatusOK || got.body != string(openAPI) {
		t.Errorf("/openapi.yaml answers %d, want the description for everybody", got.status)
	}
}

func TestABackendThatSendsItsBodyTooSlowlyIsRefused(t *testing.T) {
	_, change := withAPI(t, "secret\n")
	n := start(t, "memory://", change, func(g *Gateway) { g.bodyTimeout = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", n.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /v1/rooms/r/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: 100\r\n\r\n{")
	answer, err := io.ReadAll(conn) // it ends when the gateway closes the connection
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || !bytes.HasSuffix(answer, []byte(`{"code":"bad_request","message":"the body did not arrive in time"}`+"\n")) {
		t.Errorf("the answer is %q, %v; want a refusal, and the end of the connection", answer, err)
	}
}
