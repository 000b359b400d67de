package auth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wscluster/wscluster/pkg/settings"
)

// maxIDBytes is the bound of a user id in the wire protocol.
const maxIDBytes = 256

// Options are what an Authenticator needs from its surroundings.
type Options struct {
	// Logger gets a line when keys cannot be had, and when they can again; nil: slog.Default.
	Logger *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Client fetches key sets; nil: a client of its own with timeouts.
	Client *http.Client
}

// Authenticator finds out who a client is, in the one way that the settings name. It is safe for concurrent use.
type Authenticator struct {
	kind settings.AuthType
	// verifier is nil unless kind is jwt.
	verifier *verifier
}

// New makes an Authenticator. With a secret file it fails if the file cannot be read; with a key set it starts to fetch the set and does not wait:
// until the first fetch succeeds, tokens are refused with CodeUnavailable. The context ends the fetching.
func New(ctx context.Context, s settings.Auth, options Options) (*Authenticator, error) {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	a := &Authenticator{kind: s.Type}
	if s.Type != settings.AuthJWT {
		return a, nil
	}
	var err error
	a.verifier, err = newVerifier(ctx, s.JWT, options)
	return a, err
}

// Authenticate says who sends the handshake. A refusal is an *Error. With a key set it may block for one fetch of the set,
// at most 5 seconds or until the request's context ends; otherwise it blocks at most on reading the secret file.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	switch a.kind {
	case settings.AuthTrusted:
		return trustedIdentity(r)
	case settings.AuthJWT:
		token, err := tokenOf(r)
		if err != nil {
			return Identity{}, err
		}
		return a.verifier.verify(r.Context(), token)
	}
	return Identity{UserID: guestID()}, nil
}

// Renew judges a token that a connected client sends to replace the one it came with, and returns the new identity. A token of
// another user is refused, with CodeUnauthorized as for any token that is not valid. It blocks as Authenticate does.
func (a *Authenticator) Renew(ctx context.Context, current Identity, token string) (Identity, error) {
	if a.kind != settings.AuthJWT {
		return Identity{}, badRequest("this server takes no tokens")
	}
	renewed, err := a.verifier.verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	if renewed.UserID != current.UserID {
		return Identity{}, unauthorized("the token belongs to another user; open a new connection for them")
	}
	return renewed, nil
}

// guestID has 80 random bits: two guests of a large fleet never meet by chance, and nobody guesses one to message them.
func guestID() string {
	var random [10]byte
	rand.Read(random[:]) // never fails, as its documentation says
	return "guest-" + strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}

func trustedIdentity(r *http.Request) (Identity, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Identity{}, badRequest("the query of the URL is not well-formed; percent-encode the user_id")
	}
	ids := query["user_id"]
	switch {
	case len(ids) == 0 || ids[0] == "":
		return Identity{}, badRequest("name the user: connect to /ws?user_id=NAME")
	case len(ids) > 1:
		return Identity{}, badRequest("the URL holds more than one user_id")
	}
	if !validID(ids[0]) {
		return Identity{}, badRequest("user_id must be 1 to 256 bytes of UTF-8 without control characters")
	}
	return Identity{UserID: ids[0]}, nil
}

// validID holds the rule of the wire protocol for user ids.
func validID(id string) bool {
	return id != "" && len(id) <= maxIDBytes && utf8.ValidString(id) && strings.IndexFunc(id, unicode.IsControl) < 0
}

// bearerProtocol starts the subprotocol in which a browser can offer a token, since it cannot set headers.
const bearerProtocol = "bearer."

// Bearer returns what a request shows in Authorization: Bearer, as it stands there, and whether it has such a header. The scheme's case
// does not matter (RFC 9110, section 11.1).
func Bearer(r *http.Request) (token string, found bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}

// tokenOf finds the token: in the Authorization header, else in the query, else among the offered subprotocols.
func tokenOf(r *http.Request) (string, error) {
	if token, found := Bearer(r); found {
		return strings.TrimSpace(token), nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", badRequest("the query of the URL is not well-formed")
	}
	if tokens := query["token"]; len(tokens) > 1 {
		return "", badRequest("the URL holds more than one token")
	} else if len(tokens) == 1 && tokens[0] != "" {
		return tokens[0], nil
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(line, ",") {
			if token, found := strings.CutPrefix(strings.TrimSpace(protocol), bearerProtocol); found {
				return token, nil
			}
		}
	}
	return "", unauthorized("a token is required: send it as Authorization: Bearer TOKEN, as ?token=TOKEN, or as the subprotocol bearer.TOKEN")
}
