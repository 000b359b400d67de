package auth

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

func fuzzAuthenticator(f *testing.F) *Authenticator {
	f.Helper()
	path := filepath.Join(f.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(testSecret), 0o600); err != nil {
		f.Fatal(err)
	}
	a, err := New(f.Context(), secretSettings(path), Options{Now: newClock().Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	return a
}

// judge holds what is true of every token: it gives a whole identity or a refusal that does not show it.
func judge(t *testing.T, a *Authenticator, token string) {
	t.Helper()
	got, err := a.Authenticate(handshake("/ws", "Sec-WebSocket-Protocol", "bearer."+token))
	if err == nil {
		if !got.Verified || !validID(got.UserID) || got.ExpiresAt.Before(newClock().Now().Add(-Leeway)) || got.TokenIssuer != "https://id.example" {
			t.Errorf("%q gave the identity %+v", token, got)
		}
		for _, pattern := range got.Rooms {
			if !validID(pattern) {
				t.Errorf("%q grants rooms %q", token, pattern)
			}
		}
		return
	}
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Code != CodeUnauthorized {
		t.Fatalf("%q gave %v, want a refusal with %s", token, err, CodeUnauthorized)
	}
	if len(refusal.Message) > 512 || strings.ContainsFunc(refusal.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is not one line for people", refusal.Message)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 16 && strings.Contains(refusal.Message, part) {
			t.Errorf("the refusal shows the token: %s", refusal.Message)
		}
	}
}

// FuzzToken feeds what a stranger may send. Seeds are in testdata/fuzz/FuzzToken.
func FuzzToken(f *testing.F) {
	a := fuzzAuthenticator(f)
	f.Fuzz(func(t *testing.T, token string) { judge(t, a, token) })
}

// FuzzClaims signs whatever claims it is given: an issuer may be careless, and its tokens still must not break anything.
// Seeds are in testdata/fuzz/FuzzClaims.
func FuzzClaims(f *testing.F) {
	a := fuzzAuthenticator(f)
	f.Fuzz(func(t *testing.T, header, claims string) {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		signature, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		judge(t, a, text+"."+base64.RawURLEncoding.EncodeToString(signature))
	})
}

// FuzzKeySet feeds what an issuer may answer.
func FuzzKeySet(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		public, err := parseKeySet(body)
		if err == nil && len(public) == 0 {
			t.Error("a set without a key is taken")
		}
		for _, key := range public {
			if key.family == "" || key.key == nil {
				t.Errorf("%q gave the key %+v", body, key)
			}
		}
	})
}
