package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/wscluster/wscluster/pkg/settings"
)

const testSecret = "a secret of thirty-two bytes, or more"

// clock is the time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(span time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(span)
}

// logged collects what was logged, to look for what must not be in it.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func writeSecret(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secretSettings are the settings of tokens that are signed with a shared secret in that file.
func secretSettings(path string) settings.Auth {
	return settings.Auth{Type: settings.AuthJWT, JWT: settings.JWT{
		SecretFile: path, Issuer: "https://id.example", Audience: []string{"chat", "chat-beta"}, UserClaim: "sub", RoomsClaim: "rooms",
	}}
}

func newTestAuthenticator(t *testing.T, s settings.Auth, clock *clock) *Authenticator {
	t.Helper()
	a, err := New(t.Context(), s, Options{Now: clock.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sign(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// goodClaims are claims that everything accepts; changes are laid over, and nil removes.
func goodClaims(c *clock, changes map[string]any) map[string]any {
	claims := map[string]any{
		"sub": "alice", "iss": "https://id.example", "aud": "chat", "exp": c.Now().Add(time.Hour).Unix(), "rooms": []string{"chat:*", "lobby"},
	}
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// refused fails the test unless err is a refusal with that status and code whose message has the part, and returns its message.
func refused(t *testing.T, err error, status int, code, part string) {
	t.Helper()
	var refusal *Error
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a refusal: %d %s", err, status, part)
	}
	if refusal.Status != status || refusal.Code != code || !strings.Contains(refusal.Message, part) {
		t.Errorf("got %d %s %q, want %d %s …%s…", refusal.Status, refusal.Code, refusal.Message, status, code, part)
	}
}

func TestAGoodTokenGivesAnIdentity(t *testing.T) {
	c := newClock()
	a := newTestAuthenticator(t, secretSettings(writeSecret(t)), c)
	expires := c.Now().Add(time.Hour)
	alice := Identity{UserID: "alice", Verified: true, Rooms: []string{"chat:*", "lobby"}, ExpiresAt: expires, TokenIssuer: "https://id.example"}
	with := func(change func(*Identity)) Identity { i := alice; change(&i); return i }

	for name, test := range map[string]struct {
		method  jwt.SigningMethod
		changes map[string]any
		want    Identity
	}{
		"signed with HS256":                       {jwt.SigningMethodHS256, nil, alice},
		"signed with HS384":                       {jwt.SigningMethodHS384, nil, alice},
		"signed with HS512":                       {jwt.SigningMethodHS512, nil, alice},
		"for several audiences of which one fits": {jwt.SigningMethodHS256, map[string]any{"aud": []string{"mail", "chat-beta"}}, alice},
		"without rooms grants none":               {jwt.SigningMethodHS256, map[string]any{"rooms": nil}, with(func(i *Identity) { i.Rooms = nil })},
		"with a whole number for a user":          {jwt.SigningMethodHS256, map[string]any{"sub": 42}, with(func(i *Identity) { i.UserID = "42" })},
		"with a user's name in any script":        {jwt.SigningMethodHS256, map[string]any{"sub": "アリス"}, with(func(i *Identity) { i.UserID = "アリス" })},
		"that expired within the leeway":          {jwt.SigningMethodHS256, map[string]any{"exp": c.Now().Add(-4 * time.Second).Unix()}, with(func(i *Identity) { i.ExpiresAt = c.Now().Add(-4 * time.Second) })},
		"that begins within the leeway":           {jwt.SigningMethodHS256, map[string]any{"nbf": c.Now().Add(4 * time.Second).Unix()}, alice},
	} {
		t.Run(name, func(t *testing.T) {
			token := sign(t, test.method, []byte(testSecret), nil, goodClaims(c, test.changes))
			got, err := a.verifier.verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABadTokenIsRefusedWithAReasonThatDoesNotShowIt(t *testing.T) {
	c := newClock()
	a := newTestAuthenticator(t, secretSettings(writeSecret(t)), c)
	good := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(c, nil))
	parts := strings.Split(good, ".")
	hs := func(changes map[string]any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(c, changes))
	}
	raw := func(header, claims string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + parts[2]
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)

	for name, test := range map[string]struct{ token, want string }{
		"empty":                              {"", "the token is empty"},
		"far too long":                       {strings.Repeat("a", 20<<10), "longer than 16 KiB"},
		"no token at all":                    {"hello", "not a signed JWT"},
		"three parts of nothing":             {"..", "not a signed JWT"},
		"a header that is no JSON":           {raw("hello", "{}"), "not a signed JWT"},
		"claims that are no JSON":            {raw(`{"alg":"HS256"}`, "hello"), "not a signed JWT"},
		"no algorithm":                       {raw(`{}`, "{}"), "signature is not valid"},
		"alg none":                           {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, goodClaims(c, nil)), "algorithm is not accepted"},
		"alg nOnE with a signature":          {raw(`{"alg":"nOnE"}`, `{"sub":"alice"}`), "algorithm is not accepted"},
		"an asymmetric algorithm":            {sign(t, jwt.SigningMethodEdDSA, edKey, nil, goodClaims(c, nil)), "algorithm is not accepted"},
		"another secret":                     {sign(t, jwt.SigningMethodHS256, []byte("another secret"), nil, goodClaims(c, nil)), "signature is not valid"},
		"the secret with its line break":     {sign(t, jwt.SigningMethodHS256, []byte(testSecret+"\n"), nil, goodClaims(c, nil)), "signature is not valid"},
		"claims of another token":            {parts[0] + "." + strings.Split(hs(map[string]any{"sub": "eve"}), ".")[1] + "." + parts[2], "signature is not valid"},
		"no signature":                       {parts[0] + "." + parts[1] + ".", "signature is not valid"},
		"a critical extension":               {sign(t, jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"crit": []string{"b64"}, "b64": false}, goodClaims(c, nil)), "extension (crit)"},
		"a key id that is no text":           {sign(t, jwt.SigningMethodHS256, []byte(testSecret), map[string]any{"kid": 1}, goodClaims(c, nil)), "key id (kid) must be text"},
		"expired beyond the leeway":          {hs(map[string]any{"exp": c.Now().Add(-6 * time.Second).Unix()}), "has expired"},
		"without an end":                     {hs(map[string]any{"exp": nil}), "lacks a claim"},
		"with an end that is no time":        {hs(map[string]any{"exp": "tomorrow"}), "claims are not valid"},
		"not valid yet":                      {hs(map[string]any{"nbf": c.Now().Add(time.Minute).Unix()}), "not valid yet"},
		"of another issuer":                  {hs(map[string]any{"iss": "https://evil.example"}), "issuer that is not accepted"},
		"without an issuer":                  {hs(map[string]any{"iss": nil}), "lacks a claim"},
		"for another audience":               {hs(map[string]any{"aud": "mail"}), "another audience"},
		"without an audience":                {hs(map[string]any{"aud": nil}), "lacks a claim"},
		"without a user":                     {hs(map[string]any{"sub": nil}), "claim sub must be a user id"},
		"with an empty user":                 {hs(map[string]any{"sub": ""}), "claim sub must be a user id"},
		"with a fraction for a user":         {hs(map[string]any{"sub": 1.5}), "claim sub must be a user id"},
		"with a user that is too long":       {hs(map[string]any{"sub": strings.Repeat("a", 257)}), "claim sub must be a user id"},
		"with a control character in a user": {hs(map[string]any{"sub": "a\nb"}), "claim sub must be a user id"},
		"with rooms as one text":             {hs(map[string]any{"rooms": "chat:*"}), "claim rooms must be a list"},
		"with a room that is a number":       {hs(map[string]any{"rooms": []any{1}}), "claim rooms must hold globs"},
		"with an empty room":                 {hs(map[string]any{"rooms": []any{""}}), "claim rooms must hold globs"},
		"with a thousand and one rooms":      {hs(map[string]any{"rooms": strings.Split(strings.Repeat("a ", 1000)+"a", " ")}), "claim rooms must be a list of at most 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.verifier.verify(t.Context(), test.token)
			refused(t, err, http.StatusUnauthorized, CodeUnauthorized, test.want)
			for part := range strings.SplitSeq(test.token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Errorf("the message shows a part of the token: %s", err)
				}
			}
		})
	}
}

func TestAChangedSecretFileIsInForceAfterASecond(t *testing.T) {
	c := newClock()
	path := writeSecret(t)
	a := newTestAuthenticator(t, secretSettings(path), c)
	old := sign(t, jwt.SigningMethodHS256, []byte(testSecret), nil, goodClaims(c, nil))
	fresh := sign(t, jwt.SigningMethodHS256, []byte("the next secret"), nil, goodClaims(c, nil))

	next := path + ".next"
	if err := os.WriteFile(next, []byte("the next secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	c.add(secretEvery)
	if _, err := a.verifier.verify(t.Context(), fresh); err != nil {
		t.Errorf("a token signed with the new secret is refused: %v", err)
	}
	if _, err := a.verifier.verify(t.Context(), old); err == nil {
		t.Error("a token signed with the old secret is still taken")
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.add(secretEvery)
	if _, err := a.verifier.verify(t.Context(), fresh); err != nil {
		t.Errorf("while the file is away the last secret should stay in force: %v", err)
	}
}

func TestASecretFileThatCannotBeReadStopsTheStart(t *testing.T) {
	_, err := New(t.Context(), secretSettings("/nowhere/secret"), Options{})
	if err == nil || err.Error() != "read the secret of tokens: /nowhere/secret does not exist" {
		t.Errorf("got %v", err)
	}
}

// issuer is a real HTTP endpoint with a key set, whose keys and health the test changes.
type issuer struct {
	server *httptest.Server

	mu      sync.Mutex
	keys    []map[string]any
	status  int
	hang    chan struct{}
	fetches int
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{status: http.StatusOK}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.fetches++
		status, hang, keys := i.status, i.hang, i.keys
		i.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
				return
			}
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	}))
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) serve(status int, keys ...map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.keys = status, keys
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) settings() settings.Auth {
	return settings.Auth{Type: settings.AuthJWT, JWT: settings.JWT{JWKSURL: i.server.URL, UserClaim: "sub", RoomsClaim: "rooms"}}
}

func number(bytes []byte) string { return base64.RawURLEncoding.EncodeToString(bytes) }

// public writes a key as its entry in a set.
func public(t *testing.T, id string, key crypto.PublicKey) map[string]any {
	t.Helper()
	switch key := key.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "kid": id, "use": "sig", "n": number(key.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		return map[string]any{"kty": "EC", "kid": id, "crv": key.Curve.Params().Name, "x": number(point[1 : 1+half]), "y": number(point[1+half:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": id, "crv": "Ed25519", "x": number(key)}
	}
	t.Fatalf("no such key: %T", key)
	return nil
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	if bits < 2048 {
		t.Setenv("GODEBUG", "rsa1024min=0")
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEC(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func withID(id string) map[string]any { return map[string]any{"kid": id} }

func TestTokensOfAKeySet(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	rsaKey, p256, p384, p521, small := newRSA(t, 2048), newEC(t, elliptic.P256()), newEC(t, elliptic.P384()), newEC(t, elliptic.P521()), newRSA(t, 1024)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	bound := public(t, "bound", &rsaKey.PublicKey)
	bound["alg"] = "RS512"
	encryption := public(t, "encryption", &p384.PublicKey)
	encryption["use"] = "enc"
	i.serve(http.StatusOK,
		public(t, "rsa", &rsaKey.PublicKey), public(t, "p256", &p256.PublicKey), public(t, "p384", &p384.PublicKey), public(t, "p521", &p521.PublicKey),
		public(t, "ed", ed.Public()), public(t, "small", &small.PublicKey), bound, encryption,
		map[string]any{"kty": "oct", "kid": "shared", "k": number([]byte(testSecret))},
		map[string]any{"kty": "from the future", "kid": "future"},
	)
	a := newTestAuthenticator(t, i.settings(), c)

	for name, test := range map[string]struct {
		method jwt.SigningMethod
		key    any
		header map[string]any
		want   string // empty: accepted
	}{
		"RS256":                                  {jwt.SigningMethodRS256, rsaKey, withID("rsa"), ""},
		"RS384":                                  {jwt.SigningMethodRS384, rsaKey, withID("rsa"), ""},
		"RS512":                                  {jwt.SigningMethodRS512, rsaKey, withID("rsa"), ""},
		"ES256":                                  {jwt.SigningMethodES256, p256, withID("p256"), ""},
		"ES384":                                  {jwt.SigningMethodES384, p384, withID("p384"), ""},
		"ES512":                                  {jwt.SigningMethodES512, p521, withID("p521"), ""},
		"EdDSA":                                  {jwt.SigningMethodEdDSA, ed, withID("ed"), ""},
		"no key id, any key that fits":           {jwt.SigningMethodES256, p256, nil, ""},
		"a key bound to the algorithm":           {jwt.SigningMethodRS512, rsaKey, withID("bound"), ""},
		"a key bound to another algorithm":       {jwt.SigningMethodRS256, rsaKey, withID("bound"), "no key of the issuer fits"},
		"the id of another key":                  {jwt.SigningMethodES256, p256, withID("rsa"), "no key of the issuer fits"},
		"another key under a known id":           {jwt.SigningMethodES256, newEC(t, elliptic.P256()), withID("p256"), "signature is not valid"},
		"an unknown key id":                      {jwt.SigningMethodES256, p256, withID("p257"), "no key of the issuer fits"},
		"a key for encryption":                   {jwt.SigningMethodES384, p384, withID("encryption"), "no key of the issuer fits"},
		"a shared secret in a public set":        {jwt.SigningMethodHS256, []byte(testSecret), withID("shared"), "algorithm is not accepted"},
		"a public key used as a shared secret":   {jwt.SigningMethodHS256, rsaKey.N.Bytes(), withID("rsa"), "algorithm is not accepted"},
		"alg none":                               {jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, withID("rsa"), "algorithm is not accepted"},
		"RSA-PSS, which is not in the contract":  {jwt.SigningMethodPS256, rsaKey, withID("rsa"), "algorithm is not accepted"},
		"an RSA key that is too short to be had": {jwt.SigningMethodRS256, small, withID("small"), "no key of the issuer fits"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := a.verifier.verify(t.Context(), sign(t, test.method, test.key, test.header, goodClaims(c, nil)))
			switch {
			case test.want != "":
				refused(t, err, http.StatusUnauthorized, CodeUnauthorized, test.want)
			case err != nil:
				t.Error(err)
			case got.UserID != "alice" || !got.Verified:
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestARotatedKeyIsFoundAtOnceAndAWithdrawnOneIsLost(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	first, second := newEC(t, elliptic.P256()), newEC(t, elliptic.P256())
	i.serve(http.StatusOK, public(t, "1", &first.PublicKey))
	a := newTestAuthenticator(t, i.settings(), c)
	claims := func() map[string]any { return goodClaims(c, nil) }
	verify := func(key *ecdsa.PrivateKey, id string) error {
		_, err := a.verifier.verify(t.Context(), sign(t, jwt.SigningMethodES256, key, withID(id), claims()))
		return err
	}
	if err := verify(first, "1"); err != nil {
		t.Fatal(err)
	}

	i.serve(http.StatusOK, public(t, "1", &first.PublicKey), public(t, "2", &second.PublicKey))
	if err := verify(second, "2"); err != nil {
		t.Errorf("a token of a key that has just been added is refused: %v", err)
	}
	if err := verify(first, "1"); err != nil {
		t.Errorf("a token of the key before is refused while its key is still in the set: %v", err)
	}

	i.serve(http.StatusOK, public(t, "2", &second.PublicKey))
	c.add(keySetHard + time.Second)
	refused(t, verify(first, "1"), http.StatusUnauthorized, CodeUnauthorized, "no key of the issuer fits")
}

func TestUnknownKeyIDsCannotMakeTheGatewayFloodTheIssuer(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	key := newEC(t, elliptic.P256())
	i.serve(http.StatusOK, public(t, "1", &key.PublicKey))
	a := newTestAuthenticator(t, i.settings(), c)

	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() {
			_, err := a.verifier.verify(t.Context(), sign(t, jwt.SigningMethodES256, key, withID(rand.Text()), goodClaims(c, nil)))
			if err == nil {
				t.Error("a token with an invented key id is taken")
			}
		})
	}
	wait.Wait()
	if got := i.count(); got > keySetBurst {
		t.Errorf("200 invented key ids made %d fetches, want at most %d", got, keySetBurst)
	}
	if _, err := a.verifier.verify(t.Context(), sign(t, jwt.SigningMethodES256, key, withID("1"), goodClaims(c, nil))); err != nil {
		t.Errorf("a good token is refused meanwhile: %v", err)
	}
}

func TestAnIssuerThatIsAway(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	key := newEC(t, elliptic.P256())
	i.serve(http.StatusBadGateway)
	logs := &logged{}
	a, err := New(t.Context(), i.settings(), Options{Now: c.Now, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		t.Fatalf("an issuer that is away must not stop the start: %v", err)
	}
	token := sign(t, jwt.SigningMethodES256, key, withID("1"), goodClaims(c, map[string]any{"exp": c.Now().Add(10 * time.Hour).Unix()}))
	verify := func() error { _, err := a.verifier.verify(t.Context(), token); return err }

	refused(t, verify(), http.StatusServiceUnavailable, CodeUnavailable, "try again")

	i.serve(http.StatusOK, public(t, "1", &key.PublicKey))
	c.add(keySetEvery)
	if err := verify(); err != nil {
		t.Fatalf("the issuer is back, but its token is refused: %v", err)
	}

	i.serve(http.StatusInternalServerError)
	c.add(keySetHard + time.Minute)
	if err := verify(); err != nil {
		t.Errorf("the issuer is away again; known keys should stay in force: %v", err)
	}
	unknown := sign(t, jwt.SigningMethodES256, key, withID("2"), goodClaims(c, nil))
	_, err = a.verifier.verify(t.Context(), unknown)
	refused(t, err, http.StatusServiceUnavailable, CodeUnavailable, "cannot be fetched")

	// A set without keys is an accident of the issuer, not an order to lock everybody out.
	i.serve(http.StatusOK)
	c.add(keySetEvery)
	if err := verify(); err != nil {
		t.Errorf("an empty key set replaced a good one: %v", err)
	}
	if text := logs.String(); strings.Contains(text, token) || strings.Count(text, "cannot be fetched") != 2 || !strings.Contains(text, "fetched again") {
		t.Errorf("want two lines for the two outages, one for the return, and no token in:\n%s", text)
	}
}

func TestAnIssuerThatHangsHoldsNobodyWhoseKeyIsKnown(t *testing.T) {
	c := newClock()
	i := newIssuer(t)
	key := newEC(t, elliptic.P256())
	i.serve(http.StatusOK, public(t, "1", &key.PublicKey))
	a := newTestAuthenticator(t, i.settings(), c)
	token := sign(t, jwt.SigningMethodES256, key, withID("1"), goodClaims(c, nil))
	if _, err := a.verifier.verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	i.hang = make(chan struct{})
	i.mu.Unlock()
	c.add(keySetSoft + time.Second)
	if _, err := a.verifier.verify(t.Context(), token); err != nil {
		t.Errorf("a fetch beside the use should not be waited for: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := a.verifier.verify(ctx, sign(t, jwt.SigningMethodES256, key, withID("2"), goodClaims(c, nil)))
	refused(t, err, http.StatusServiceUnavailable, CodeUnavailable, "did not arrive in time")
}
