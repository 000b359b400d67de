package contract

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims are those of a token; exp is in an hour where it is not given, and absent where it is nil.
type claims map[string]any

func (c claims) complete() jwt.MapClaims {
	all := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "jti": name("token")}
	for key, value := range c {
		all[key] = value
		if value == nil {
			delete(all, key)
		}
	}
	return all
}

// jwtOf signs claims with the secret that the gateways of the fleet know. No log may hold it.
func jwtOf(t *testing.T, c claims) string {
	t.Helper()
	return signed(t, jwt.SigningMethodHS256, []byte(jwtSecret), "", c)
}

func signed(t *testing.T, method jwt.SigningMethod, key any, keyID string, c claims) string {
	t.Helper()
	unsigned := jwt.NewWithClaims(method, c.complete())
	if keyID != "" {
		unsigned.Header["kid"] = keyID
	}
	text, err := unsigned.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return secret(text)
}

func withToken(t *testing.T, g *gateway, token string) *client {
	t.Helper()
	return dialWith(t, "ws://"+g.public+"/ws?token="+token, nil)
}

func wantUnauthorized(t *testing.T, g *gateway, token string) {
	t.Helper()
	wantRefusal(t, handshake(t, g, "/ws", "Authorization", "Bearer "+token), 401, "unauthorized")
}

func inSeconds(n int) int64 { return time.Now().Add(time.Duration(n) * time.Second).Unix() }

func TestTokens(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "exp is required; 5 s of clock difference are forgiven", func(t *testing.T) {
		wantUnauthorized(t, f.tokens, jwtOf(t, claims{"sub": "alice", "exp": nil}))
		wantUnauthorized(t, f.tokens, jwtOf(t, claims{"sub": "alice", "exp": "tomorrow"}))
		wantUnauthorized(t, f.tokens, jwtOf(t, claims{"sub": "alice", "exp": inSeconds(-7)}))
		withToken(t, f.tokens, jwtOf(t, claims{"sub": "alice", "exp": inSeconds(-1)}))
		wantUnauthorized(t, f.tokens, jwtOf(t, claims{"sub": "alice", "nbf": inSeconds(60)}))
		withToken(t, f.tokens, jwtOf(t, claims{"sub": "alice", "nbf": inSeconds(4)}))
	})

	holds(t, "alg: none is refused", func(t *testing.T) {
		none := signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claims{"sub": "alice"})
		wantUnauthorized(t, f.tokens, none)
		wantUnauthorized(t, f.tokens, signed(t, jwt.SigningMethodHS256, []byte("another secret of at least 32 bytes here"), "", claims{"sub": "alice"}))
		good := jwtOf(t, claims{"sub": "alice"})
		wantUnauthorized(t, f.tokens, good[:len(good)-6]+"AAAAAA")
		wantUnauthorized(t, f.tokens, "")
	})

	holds(t, "The claim with the user id, which must be one as the grammar says, or a whole number.", func(t *testing.T) {
		for _, sub := range []any{nil, "", "a\nb", true, 1.5, []string{"a"}} {
			wantUnauthorized(t, f.tokens, jwtOf(t, claims{"sub": sub}))
		}
		if got := withToken(t, f.tokens, jwtOf(t, claims{"sub": 4711})).user; got != "4711" {
			t.Errorf("a number as the user id makes %q", got)
		}
	})

	holds(t, "HS256, HS384 or HS512", func(t *testing.T) {
		for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
			withToken(t, f.tokens, signed(t, method, []byte(jwtSecret), "", claims{"sub": "alice"}))
		}
	})

	holds(t, "iss claim that a token must have … the aud claim of a token must have one of them … The claim with the user id … The claim with the list of globs over room ids that the token grants, for room policies that say token", func(t *testing.T) {
		g := startGateway(t, "rooms: [{match: \"granted-*\", join: token, publish: token}]", "--auth=jwt", "--jwt-secret-file="+file(t, "secret", jwtSecret+"\n"),
			"--jwt-issuer=https://issuer.example.com", "--jwt-audience=chat,games", "--jwt-user-claim=email", "--jwt-rooms-claim=channels")
		whole := func(change claims) string {
			all := claims{"iss": "https://issuer.example.com", "aud": "chat", "email": "alice@example.com", "sub": "x", "channels": []string{"granted-a*", "granted-?z"}}
			maps.Copy(all, change)
			return jwtOf(t, all)
		}
		for _, change := range []claims{{"iss": "https://other.example.com"}, {"iss": nil}, {"aud": "mail"}, {"aud": nil}, {"email": nil}, {"channels": "granted-a"}, {"channels": []any{1}}} {
			wantUnauthorized(t, g, whole(change))
		}
		withToken(t, g, whole(claims{"aud": []string{"mail", "games"}}))
		c := withToken(t, g, whole(nil))
		if c.user != "alice@example.com" {
			t.Errorf("the user id is %q", c.user)
		}
		c.join("granted-apple", "granted-bz")
		c.publish("granted-apple")
		c.refused("forbidden", `{"type":"join","room_id":"granted-b"}`)
		c.refused("forbidden", `{"type":"publish","room_id":"granted-b","data":1}`)
		none := withToken(t, g, whole(claims{"channels": nil}))
		none.refused("forbidden", `{"type":"join","room_id":"granted-a"}`)
	})
}

// issuer serves a JSON Web Key Set that can be changed, and can be away.
type issuer struct {
	*httptest.Server
	keys atomic.Pointer[[]map[string]string]
	away atomic.Bool
}

func newIssuer(t *testing.T, keys ...map[string]string) *issuer {
	t.Helper()
	i := &issuer{}
	i.keys.Store(&keys)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": *i.keys.Load()})
	}))
	t.Cleanup(i.Close)
	return i
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ed25519Key(t *testing.T, id string) (ed25519.PrivateKey, map[string]string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(public)}
}

func TestKeySets(t *testing.T) {
	t.Parallel()

	holds(t, "The key set of tokens signed with RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA.", func(t *testing.T) {
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		edKey, edPublic := ed25519Key(t, "ed")
		keys := []map[string]string{edPublic, {"kty": "RSA", "kid": "rsa", "n": encode(rsaKey.N.Bytes()), "e": "AQAB"}}
		curves := map[string]*ecdsa.PrivateKey{}
		for curveName, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			curves[curveName] = key
			point, err := key.PublicKey.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			size := (len(point) - 1) / 2
			keys = append(keys, map[string]string{"kty": "EC", "crv": curveName, "kid": curveName, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:])})
		}
		g := startGateway(t, "", "--auth=jwt", "--jwks-url="+newIssuer(t, keys...).URL)
		for id, test := range map[string]struct {
			method jwt.SigningMethod
			key    any
		}{
			"rsa": {jwt.SigningMethodRS256, rsaKey}, "rsa ": {jwt.SigningMethodRS384, rsaKey}, "rsa  ": {jwt.SigningMethodRS512, rsaKey}, "ed": {jwt.SigningMethodEdDSA, edKey},
			"P-256": {jwt.SigningMethodES256, curves["P-256"]}, "P-384": {jwt.SigningMethodES384, curves["P-384"]}, "P-521": {jwt.SigningMethodES512, curves["P-521"]},
		} {
			for id[len(id)-1] == ' ' {
				id = id[:len(id)-1]
			}
			withToken(t, g, signed(t, test.method, test.key, id, claims{"sub": "alice"}))
			withToken(t, g, signed(t, test.method, test.key, "", claims{"sub": "alice"})) // without a key id any key may fit
		}
	})

	holds(t, "a symmetric algorithm where there is a key set", func(t *testing.T) {
		_, public := ed25519Key(t, "ed")
		g := startGateway(t, "", "--auth=jwt", "--jwks-url="+newIssuer(t, public).URL)
		raw, err := base64.RawURLEncoding.DecodeString(public["x"])
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range [][]byte{raw, []byte(public["x"])} {
			wantUnauthorized(t, g, signed(t, jwt.SigningMethodHS256, key, "ed", claims{"sub": "alice"}))
		}
		wantUnauthorized(t, g, signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "ed", claims{"sub": "alice"}))
	})

	holds(t, "A key set is fetched at the start and again every few minutes, and at once when a token names a key that is not known … Keys that were fetched stay in force while the endpoint is away.", func(t *testing.T) {
		first, firstPublic := ed25519Key(t, "first")
		second, secondPublic := ed25519Key(t, "second")
		source := newIssuer(t, firstPublic)
		g := startGateway(t, "", "--auth=jwt", "--jwks-url="+source.URL)
		withToken(t, g, signed(t, jwt.SigningMethodEdDSA, first, "first", claims{"sub": "alice"}))
		wantUnauthorized(t, g, signed(t, jwt.SigningMethodEdDSA, second, "second", claims{"sub": "alice"}))
		both := []map[string]string{firstPublic, secondPublic}
		source.keys.Store(&both)
		withToken(t, g, signed(t, jwt.SigningMethodEdDSA, second, "second", claims{"sub": "alice"}))
		source.away.Store(true)
		withToken(t, g, signed(t, jwt.SigningMethodEdDSA, first, "first", claims{"sub": "alice"}))
		withToken(t, g, signed(t, jwt.SigningMethodEdDSA, second, "second", claims{"sub": "alice"}))
	})

	holds(t, "or cannot check tokens now.", func(t *testing.T) {
		key, public := ed25519Key(t, "ed")
		source := newIssuer(t, public)
		source.away.Store(true)
		g := startGateway(t, "", "--auth=jwt", "--jwks-url="+source.URL)
		got := handshake(t, g, "/ws?token="+signed(t, jwt.SigningMethodEdDSA, key, "ed", claims{"sub": "alice"}))
		wantRefusal(t, got, 503, "unavailable")
		if count := g.metric(t, `wscluster_connects_total{result="unavailable"}`); count < 1 {
			t.Errorf("%v attempts are counted as unavailable", count)
		}
		wantRetryAfter(t, got)
	})
}

// hs256 is the algorithm of shared secrets.
var hs256 = jwt.SigningMethodHS256
