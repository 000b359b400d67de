package gateway

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

const tokenSecret = "a secret of thirty-two bytes, or more"

// token signs claims that end after the time given.
func token(t *testing.T, user string, life time.Duration, rooms ...string) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": time.Now().Add(life).Unix(), "rooms": rooms}).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func startWithTokens(t *testing.T) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(tokenSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "memory://", func(s *settings.Settings) {
		s.Auth.Type, s.Auth.JWT.SecretFile = settings.AuthJWT, file
		s.DirectMessages.Publish = settings.AccessAuthenticated
		s.Rooms = []settings.RoomPolicy{{Match: "team:*", Join: settings.AccessToken, Publish: settings.AccessToken}}
	})
}

// dialWith connects with a token by the given way.
func (n *node) dialWith(t *testing.T, header http.Header, query string) *client {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+n.Addr().String()+"/ws"+query, header)
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Sec-WebSocket-Protocol"); strings.HasPrefix(got, protocol.BearerPrefix) {
		t.Errorf("the answer repeats the token: %s", got)
	}
	return newClient(t, ws)
}

func TestATokenSaysWhoAClientIs(t *testing.T) {
	n := startWithTokens(t)
	alice := token(t, "alice", time.Hour, "team:red")
	for way, c := range map[string]*client{
		"by header":      n.dialWith(t, http.Header{"Authorization": {"Bearer " + alice}}, ""),
		"by query":       n.dialWith(t, nil, "?token="+alice),
		"by subprotocol": n.dialWith(t, http.Header{"Sec-WebSocket-Protocol": {"wscluster.v1.json, bearer." + alice}}, ""),
	} {
		t.Run(way, func(t *testing.T) {
			if welcome := c.welcome; welcome["user_id"] != "alice" || welcome["expires_at"] == nil {
				t.Errorf("welcome %v, want alice and when her token ends", welcome)
			}
			c.do(`{"type":"join","id":"1","room_id":"team:red"}`, `{"type":"ack","id":"1","room_id":"team:red"}`)
			c.send(`{"type":"join","id":"2","room_id":"team:blue"}`)
			if got := c.next(); got["code"] != "forbidden" || got["id"] != "2" {
				t.Errorf("joining a room that the token does not grant gives %v, want forbidden", got)
			}
		})
	}
	for name, bad := range map[string]string{"without a token": "", "with a token of another key": alice[:len(alice)-4] + "AAAA", "with one that has ended": token(t, "alice", -time.Hour)} {
		t.Run(name, func(t *testing.T) {
			got := request(t, http.MethodGet, "http://"+n.Addr().String()+"/ws?token="+bad, http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}})
			wantRefusal(t, got, http.StatusUnauthorized, protocol.CodeUnauthorized)
		})
	}
	if strings.Contains(n.log.String(), alice) {
		t.Error("the log holds a token")
	}
}

func TestATokenIsRenewedInBand(t *testing.T) {
	n := startWithTokens(t)
	c := n.dialWith(t, nil, "?token="+token(t, "alice", time.Hour, "team:red"))
	c.send(`{"type":"auth","id":"1","token":"` + token(t, "bob", time.Hour) + `"}`)
	if got := c.next(); got["code"] != "unauthorized" || got["id"] != "1" {
		t.Errorf("a token of another user gives %v, want unauthorized", got)
	}
	c.do(`{"type":"auth","id":"2","token":"`+token(t, "alice", time.Hour, "team:blue")+`"}`, `{"type":"ack","id":"2"}`)
	c.do(`{"type":"join","id":"3","room_id":"team:blue"}`, `{"type":"ack","id":"3","room_id":"team:blue"}`)
}

func TestAClientWhoseTokenEndsIsToldAndThenClosed(t *testing.T) {
	t.Parallel()
	n := startWithTokens(t)
	c := n.dialWith(t, nil, "?token="+token(t, "alice", 2*time.Second))
	if got := c.next(); got["type"] != "reconnect" || got["reason"] != "token_expiring" {
		t.Errorf("before the token's end came %v, want reconnect for token_expiring", got)
	}
	c.wantClose(protocol.CloseTokenExpired)
}

func TestAClientWhoseTokenHasJustEndedIsTakenWithinTheLeeway(t *testing.T) {
	t.Parallel()
	n := startWithTokens(t)
	c := n.dialWith(t, nil, "?token="+token(t, "alice", -2*time.Second))
	if got := c.next(); got["type"] != "reconnect" || got["reason"] != "token_expiring" {
		t.Errorf("after the token's end came %v, want reconnect for token_expiring", got)
	}
	c.wantClose(protocol.CloseTokenExpired)
}
