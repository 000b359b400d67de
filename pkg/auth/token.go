package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/wscluster/wscluster/pkg/settings"
)

// Leeway is how far the clocks of this machine and of the issuer may differ; the wire protocol allows no more.
const Leeway = 5 * time.Second

// The bounds of a token. They are far above what issuers make, and keep a stranger from buying much work with one request.
const (
	maxTokenBytes = 16 << 10
	maxRoomGlobs  = 1000
)

// keySource has the keys that a token may be signed with. An error is an *Error.
type keySource interface {
	// keys returns at least one key that fits the key id (empty: the token names none) and the algorithm.
	keys(ctx context.Context, keyID, algorithm string) ([]jwt.VerificationKey, error)
}

// verifier turns tokens into identities.
type verifier struct {
	source     keySource
	algorithms []string
	parser     *jwt.Parser
	userClaim  string
	roomsClaim string
}

func newVerifier(ctx context.Context, s settings.JWT, options Options) (*verifier, error) {
	v := &verifier{userClaim: s.UserClaim, roomsClaim: s.RoomsClaim}
	if s.SecretFile != "" {
		secret, err := newSecretFile(s.SecretFile, options)
		if err != nil {
			return nil, err
		}
		v.source, v.algorithms = secret, []string{"HS256", "HS384", "HS512"}
	} else {
		v.source = newKeySet(ctx, s.JWKSURL, options)
		v.algorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}
	}
	rules := []jwt.ParserOption{
		// The list also refuses alg none, and a public key used as if it were a shared secret.
		jwt.WithValidMethods(v.algorithms),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(options.Now),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(),
	}
	if s.Issuer != "" {
		rules = append(rules, jwt.WithIssuer(s.Issuer))
	}
	if len(s.Audience) > 0 {
		rules = append(rules, jwt.WithAudience(s.Audience...))
	}
	v.parser = jwt.NewParser(rules...)
	return v, nil
}

func (v *verifier) verify(ctx context.Context, token string) (Identity, error) {
	switch {
	case token == "":
		return Identity{}, unauthorized("the token is empty")
	case len(token) > maxTokenBytes:
		return Identity{}, unauthorized("the token is longer than 16 KiB")
	}
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			// Whoever marks an extension critical asks to be refused by those who do not know it (RFC 7515, 4.1.11).
			return nil, unauthorized("the token needs an extension (crit) that this server does not know")
		}
		keyID, named := t.Header["kid"].(string)
		if _, present := t.Header["kid"]; present && !named {
			return nil, unauthorized("the token's key id (kid) must be text")
		}
		keys, err := v.source.keys(ctx, keyID, t.Method.Alg())
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	if err != nil {
		return Identity{}, v.explain(err)
	}
	return v.identity(claims)
}

// explain says what is wrong with a token without showing any of it: the library's own texts quote parts of tokens.
func (v *verifier) explain(err error) error {
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, jwt.ErrTokenExpired):
		return unauthorized("the token has expired")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return unauthorized("the token lacks a claim that is required: exp, and iss and aud where the server asks for them")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return unauthorized("the token is not valid yet")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return unauthorized("the token comes from an issuer that is not accepted here")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return unauthorized("the token was made for another audience")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return unauthorized("the token is not a signed JWT")
	case errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return unauthorized("the token's signature is not valid, or its algorithm is not accepted here")
	}
	return unauthorized("the token's claims are not valid")
}

// identity reads the claims of a token whose signature and times are good.
func (v *verifier) identity(claims jwt.MapClaims) (Identity, error) {
	userID, ok := textClaim(claims[v.userClaim])
	if !ok || !validID(userID) {
		return Identity{}, unauthorized(fmt.Sprintf("the token's claim %s must be a user id of 1 to 256 bytes of UTF-8 without control characters", v.userClaim))
	}
	rooms, err := v.rooms(claims[v.roomsClaim])
	if err != nil {
		return Identity{}, err
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Identity{}, unauthorized("the token's exp is not a time")
	}
	// An issuer that is not text was already refused if one is asked for.
	issuer, _ := claims["iss"].(string)
	return Identity{UserID: userID, Verified: true, Rooms: rooms, ExpiresAt: expires.Time, TokenIssuer: issuer}, nil
}

// textClaim takes text, and whole numbers, which many issuers use for user ids.
func textClaim(claim any) (string, bool) {
	switch claim := claim.(type) {
	case string:
		return claim, true
	case json.Number:
		if _, err := strconv.ParseInt(claim.String(), 10, 64); err == nil {
			return claim.String(), true
		}
	}
	return "", false
}

func (v *verifier) rooms(claim any) ([]string, error) {
	if claim == nil {
		return nil, nil
	}
	list, ok := claim.([]any)
	if !ok || len(list) > maxRoomGlobs {
		return nil, unauthorized(fmt.Sprintf("the token's claim %s must be a list of at most %d globs over room ids", v.roomsClaim, maxRoomGlobs))
	}
	rooms := make([]string, 0, len(list))
	for _, entry := range list {
		pattern, ok := entry.(string)
		if !ok || !validID(pattern) {
			return nil, unauthorized(fmt.Sprintf("the token's claim %s must hold globs over room ids, each text of 1 to 256 bytes without control characters", v.roomsClaim))
		}
		rooms = append(rooms, pattern)
	}
	return rooms, nil
}
