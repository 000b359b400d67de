package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// The rhythm of a key set. A set that is older than keySetSoft is fetched anew beside its use; older than keySetHard, the use waits
// for the fetch, so that a key that was withdrawn is not taken for longer than that while the endpoint answers.
const (
	keySetSoft  = 5 * time.Minute
	keySetHard  = time.Hour
	keySetFetch = 5 * time.Second
	// keySetEvery and keySetBurst bound fetches for unknown key ids, which anybody can invent, and after failures.
	keySetEvery = 5 * time.Second
	keySetBurst = 3
)

const (
	maxKeySetBytes = 1 << 20
	// minRSABits is the least that RFC 7518, 3.3 allows.
	minRSABits = 2048
)

// publicKey is one usable key of a set.
type publicKey struct {
	id string
	// algorithm binds the key to one algorithm; empty: any that fits its kind.
	algorithm string
	// family is the beginning of the names of the algorithms that the key's kind can do.
	family string
	key    jwt.VerificationKey
}

// keySet is a JSON Web Key Set behind a URL. Keys that were once fetched stay in force while the endpoint is away.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	logger *slog.Logger
	// ask wakes the goroutine that fetches; it has room for the one fetch that can be due.
	ask chan struct{}

	mu        sync.Mutex
	limiter   *rate.Limiter
	public    []publicKey
	fetchedAt time.Time // zero: never
	failing   bool
	fetching  chan struct{} // closed when the fetch that is due or under way ends; nil: none is
	ended     bool          // nobody fetches any more
}

func newKeySet(ctx context.Context, url string, options Options) *keySet {
	client := options.Client
	if client == nil {
		client = &http.Client{CheckRedirect: stayEncrypted}
	}
	set := &keySet{
		url: url, client: client, now: options.Now, logger: options.Logger, ask: make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Every(keySetEvery), keySetBurst),
	}
	go set.run(ctx)
	set.mu.Lock()
	defer set.mu.Unlock()
	set.start()
	return set
}

// run fetches when asked. Its context ends with the gateway, not with the request that happens to need a key first.
func (k *keySet) run(ctx context.Context) {
	for {
		select {
		case <-k.ask:
			k.refresh(ctx)
		case <-ctx.Done():
			k.end()
			return
		}
	}
}

// end lets go of everybody who waits for a fetch that nobody will make.
func (k *keySet) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.fetching != nil {
		close(k.fetching)
		k.fetching = nil
	}
}

// stayEncrypted keeps a redirect from fetching keys over a link that anybody can write to.
func stayEncrypted(request *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("more than 5 redirects")
	}
	if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
		return errors.New("a redirect from https to " + request.URL.Scheme)
	}
	return nil
}

// keys implements keySource. It waits for a fetch only when no known key fits or all are too old.
func (k *keySet) keys(ctx context.Context, keyID, algorithm string) ([]jwt.VerificationKey, error) {
	found, fetching := k.look(keyID, algorithm)
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, unavailable("the keys for tokens did not arrive in time; try again")
		}
		found, _ = k.fitting(keyID, algorithm)
	}
	if len(found) > 0 {
		return found, nil
	}
	if _, trusted := k.fitting(keyID, algorithm); !trusted {
		return nil, unavailable("the keys for tokens cannot be fetched now; try again")
	}
	return nil, unauthorized("the token's signature is not valid: no key of the issuer fits its key id and algorithm")
}

// look returns the keys that fit, and a fetch to wait for if the answer would be better after it.
func (k *keySet) look(keyID, algorithm string) ([]jwt.VerificationKey, chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.match(keyID, algorithm)
	age := k.now().Sub(k.fetchedAt)
	if len(found) > 0 && age < keySetSoft {
		return found, nil
	}
	k.start()
	if len(found) > 0 && age < keySetHard {
		return found, nil
	}
	return found, k.fetching
}

// fitting returns the keys that fit, and whether the last fetch succeeded, so that a missing key means a bad token.
func (k *keySet) fitting(keyID, algorithm string) ([]jwt.VerificationKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.match(keyID, algorithm), !k.fetchedAt.IsZero() && !k.failing
}

// match needs mu. A token without a key id may be signed by any key.
func (k *keySet) match(keyID, algorithm string) []jwt.VerificationKey {
	var found []jwt.VerificationKey
	for _, key := range k.public {
		if (keyID == "" || key.id == keyID) && strings.HasPrefix(algorithm, key.family) && (key.algorithm == "" || key.algorithm == algorithm) {
			found = append(found, key.key)
		}
	}
	return found
}

// start has a fetch made unless one is under way or too many were made. It needs mu.
func (k *keySet) start() {
	if k.ended || k.fetching != nil || !k.limiter.AllowN(k.now(), 1) {
		return
	}
	k.fetching = make(chan struct{})
	k.ask <- struct{}{} // never blocks: fetching was nil, so no fetch was due
}

// refresh fetches once and puts the result in force.
func (k *keySet) refresh(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, keySetFetch)
	defer cancel()
	public, err := k.fetch(limited)
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.fetching)
	k.fetching = nil
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !k.failing:
		k.logger.Warn("the key set for tokens cannot be fetched; keys that are known stay in force", "url", k.url, "known_keys", len(k.public), "error", err)
	case err == nil && k.failing:
		k.logger.Info("the key set for tokens is fetched again", "url", k.url, "known_keys", len(public))
	}
	k.failing = err != nil
	if err == nil {
		k.public, k.fetchedAt = public, k.now()
	}
}

func (k *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the endpoint answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxKeySetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxKeySetBytes {
		return nil, errors.New("the key set is over 1 MiB")
	}
	return parseKeySet(body)
}

// parseKeySet keeps the keys that can verify tokens. Others are passed over, since a set may serve other users too: keys for encryption,
// shared secrets, unknown kinds. A set without a single usable key is an error, so that it does not replace a good one.
func parseKeySet(body []byte) ([]publicKey, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the endpoint did not answer with a JSON Web Key Set")
	}
	var public []publicKey
	for _, marshalled := range set.Keys {
		if marshalled.USE == jwkset.UseEnc {
			continue
		}
		// Certificates beside a key are not what it is trusted for, so their dates and links are not looked at.
		key, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipX5UScheme: true, SkipUse: true, SkipKeyOps: true})
		if err != nil {
			continue
		}
		if family := algorithmFamily(key.Key()); family != "" {
			public = append(public, publicKey{id: marshalled.KID, algorithm: marshalled.ALG.String(), family: family, key: key.Key()})
		}
	}
	if len(public) == 0 {
		return nil, errors.New("the key set holds no key that can verify a token (RSA from 2048 bits, EC, or Ed25519)")
	}
	return public, nil
}

func algorithmFamily(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSABits {
			return "RS"
		}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return "ES256"
		case 384:
			return "ES384"
		case 521:
			return "ES512"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}
