package auth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wscluster/wscluster/pkg/settings"
)

func handshake(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestAGuestGetsARandomIDWhateverTheyClaim(t *testing.T) {
	a := newTestAuthenticator(t, settings.Auth{Type: settings.AuthGuest}, newClock())
	form := regexp.MustCompile(`^guest-[a-z2-7]{16}$`)
	seen := map[string]bool{}
	for range 1000 {
		got, err := a.Authenticate(handshake("/ws?user_id=alice&token=x", "Authorization", "Bearer y"))
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(got.UserID) || got.Verified || got.Rooms != nil || !got.ExpiresAt.IsZero() {
			t.Fatalf("got %+v, want an unverified identity with an id like guest- and 16 characters", got)
		}
		if seen[got.UserID] {
			t.Fatalf("%s was given twice", got.UserID)
		}
		seen[got.UserID] = true
	}
	_, err := a.Renew(t.Context(), Identity{UserID: "guest-x"}, "token")
	refused(t, err, http.StatusBadRequest, CodeBadRequest, "takes no tokens")
}

func TestATrustedUserIDIsBelieved(t *testing.T) {
	a := newTestAuthenticator(t, settings.Auth{Type: settings.AuthTrusted}, newClock())
	for name, test := range map[string]struct{ query, want, refusal string }{
		"a plain name":                   {"user_id=alice", "alice", ""},
		"a name in any script":           {"user_id=" + url.QueryEscape("Зоя 🙂"), "Зоя 🙂", ""},
		"beside other parameters":        {"a=b&user_id=bob&user=eve", "bob", ""},
		"the longest name":               {"user_id=" + strings.Repeat("a", 256), strings.Repeat("a", 256), ""},
		"no name":                        {"", "", "/ws?user_id=NAME"},
		"an empty name":                  {"user_id=", "", "/ws?user_id=NAME"},
		"two names":                      {"user_id=a&user_id=b", "", "more than one user_id"},
		"a name that is too long":        {"user_id=" + strings.Repeat("a", 257), "", "1 to 256 bytes"},
		"a long name of few characters":  {"user_id=" + url.QueryEscape(strings.Repeat("🙂", 65)), "", "1 to 256 bytes"},
		"a name with a line break":       {"user_id=a%0Ab", "", "control characters"},
		"a name with a C1 control":       {"user_id=a%C2%85b", "", "control characters"},
		"a name that is not UTF-8":       {"user_id=%FF", "", "UTF-8"},
		"a query that cannot be decoded": {"user_id=%zz", "", "not well-formed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.Authenticate(handshake("/ws?" + test.query))
			if test.refusal != "" {
				refused(t, err, http.StatusBadRequest, CodeBadRequest, test.refusal)
				return
			}
			if err != nil || got.UserID != test.want || got.Verified {
				t.Errorf("got %+v, %v; want %s, not verified", got, err, test.want)
			}
		})
	}
}

func TestATokenIsFoundWhereverAClientCanPutIt(t *testing.T) {
	c := newClock()
	a := newTestAuthenticator(t, secretSettings(writeSecret(t)), c)
	token := func(user string) string {
		return sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(c, map[string]any{"sub": user}))
	}
	for name, test := range map[string]struct {
		request *http.Request
		want    string
		status  int
	}{
		"in the Authorization header":            {handshake("/ws", "Authorization", "Bearer "+token("alice")), "alice", 0},
		"whatever the case of Bearer":            {handshake("/ws", "Authorization", "bearer "+token("alice")), "alice", 0},
		"in the query":                           {handshake("/ws?token=" + token("alice")), "alice", 0},
		"as a subprotocol":                       {handshake("/ws", "Sec-WebSocket-Protocol", "wscluster.v1.json, bearer."+token("alice")), "alice", 0},
		"as a subprotocol in a line of its own":  {handshake("/ws", "Sec-WebSocket-Protocol", "wscluster.v1.json", "Sec-WebSocket-Protocol", "bearer."+token("alice")), "alice", 0},
		"the header wins over the query":         {handshake("/ws?token="+token("bob"), "Authorization", "Bearer "+token("alice")), "alice", 0},
		"the query wins over the subprotocol":    {handshake("/ws?token="+token("bob"), "Sec-WebSocket-Protocol", "bearer."+token("alice")), "bob", 0},
		"a password of a proxy is no token":      {handshake("/ws?token="+token("bob"), "Authorization", "Basic YTpi"), "bob", 0},
		"nowhere":                                {handshake("/ws?user_id=alice"), "", http.StatusUnauthorized},
		"an empty one in the header":             {handshake("/ws?token="+token("bob"), "Authorization", "Bearer "), "", http.StatusUnauthorized},
		"two in the query":                       {handshake("/ws?token=a&token=b"), "", http.StatusBadRequest},
		"in a query that cannot be decoded":      {handshake("/ws?token=%zz"), "", http.StatusBadRequest},
		"a bad one in the header is not skipped": {handshake("/ws?token="+token("bob"), "Authorization", "Bearer x.y.z"), "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.Authenticate(test.request)
			switch test.status {
			case http.StatusUnauthorized:
				refused(t, err, test.status, CodeUnauthorized, "token")
			case http.StatusBadRequest:
				refused(t, err, test.status, CodeBadRequest, "URL")
			default:
				if err != nil || got.UserID != test.want {
					t.Errorf("got %q, %v; want %q", got.UserID, err, test.want)
				}
			}
		})
	}
}

func TestATokenIsRenewedForTheSameUserOnly(t *testing.T) {
	c := newClock()
	a := newTestAuthenticator(t, secretSettings(writeSecret(t)), c)
	current := Identity{UserID: "alice", Verified: true, ExpiresAt: c.Now().Add(time.Minute)}
	sign := func(changes map[string]any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(c, changes))
	}
	got, err := a.Renew(t.Context(), current, sign(map[string]any{"rooms": []string{"other"}}))
	if err != nil {
		t.Fatal(err)
	}
	if !got.ExpiresAt.Equal(c.Now().Add(time.Hour)) || len(got.Rooms) != 1 || got.Rooms[0] != "other" {
		t.Errorf("the new token's end and rooms should hold, got %+v", got)
	}
	_, err = a.Renew(t.Context(), current, sign(map[string]any{"sub": "bob"}))
	refused(t, err, http.StatusUnauthorized, CodeUnauthorized, "another user")
	_, err = a.Renew(t.Context(), current, sign(map[string]any{"exp": c.Now().Add(-time.Hour).Unix()}))
	refused(t, err, http.StatusUnauthorized, CodeUnauthorized, "has expired")
}
