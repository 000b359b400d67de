package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/wscluster/wscluster/pkg/auth"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

// openAPI describes the server API; a test holds the handlers to it.
//
//go:embed openapi.yaml
var openAPI []byte

// apiKeys are the digests of the keys that let a backend in. Several hold at a time, so that they can be changed one by one.
type apiKeys struct {
	digests atomic.Pointer[[][sha256.Size]byte]
}

// load reads the key file; on an error the keys in use stay.
func (k *apiKeys) load(file string) error {
	keys, err := settings.ReadKeys(file)
	if err != nil {
		return err
	}
	digests := make([][sha256.Size]byte, len(keys))
	for i, key := range keys {
		digests[i] = sha256.Sum256([]byte(key))
	}
	k.digests.Store(&digests)
	return nil
}

// holds compares with every key in a time that tells nothing about them.
func (k *apiKeys) holds(given string) bool {
	digest := sha256.Sum256([]byte(given))
	found := 0
	for _, known := range *k.digests.Load() {
		found |= subtle.ConstantTimeCompare(digest[:], known[:])
	}
	return found == 1
}

// apiHandler serves backends: what they publish has no from.
func (g *Gateway) apiHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/rooms/{room_id}/messages", g.apiPublishRoom)
	mux.HandleFunc("POST /v1/users/{user_id}/messages", g.apiPublishUser)
	mux.HandleFunc("POST /v1/messages:batch", g.apiPublishBatch)
	mux.HandleFunc("GET /v1/rooms/{room_id}/messages", g.apiHistory)
	mux.HandleFunc("GET /v1/rooms/{room_id}/members", g.apiMembers)
	mux.HandleFunc("GET /v1/stats", g.apiStats)
	mux.HandleFunc("DELETE /v1/users/{user_id}/connections", g.apiDisconnect)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := apiMethods(mux, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			refuse(w, http.StatusMethodNotAllowed, protocol.CodeBadRequest, "this path has no "+r.Method+": use "+strings.Join(allowed, " or "), 0)
			return
		}
		refuse(w, http.StatusNotFound, protocol.CodeBadRequest, "there is no such path: /openapi.yaml lists them", 0)
	})
	open := http.NewServeMux()
	open.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI) // who asked is gone if this fails
	})
	open.Handle("/", g.withKey(mux))
	return open
}

// apiMethods returns the methods that the path of a request has.
func apiMethods(mux *http.ServeMux, r *http.Request) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "/" {
			methods = append(methods, method)
		}
	}
	return methods
}

func (g *Gateway) withKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if given, _ := auth.Bearer(r); given == "" || !g.apiKeys.holds(given) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, protocol.CodeUnauthorized, "send one of the API keys as Authorization: Bearer KEY", 0)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// apiStatus is the HTTP status of an error code.
func apiStatus(code protocol.Code) int {
	switch code {
	case protocol.CodeBadRequest:
		return http.StatusBadRequest
	case protocol.CodeForbidden:
		return http.StatusForbidden
	case protocol.CodeConflict:
		return http.StatusConflict
	case protocol.CodeUnavailable:
		return http.StatusServiceUnavailable
	case protocol.CodeUnconfirmed:
		return http.StatusAccepted // it is stored: sending it again would double it
	}
	return http.StatusInternalServerError
}

// apiError answers with an error.
func apiError(w http.ResponseWriter, err *protocol.Error) {
	retryAfter := 0
	if err.Code == protocol.CodeUnavailable {
		retryAfter = 1
	}
	refuse(w, apiStatus(err.Code), err.Code, err.Message, retryAfter)
}

// apiAnswer answers with a JSON value.
func apiAnswer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // the data of messages is passed on as it came
	_ = encoder.Encode(value)    // who asked is gone if this fails
}

// apiBody reads the request's body of at most limit bytes; tooLarge is what to say of a larger one.
func apiBody(w http.ResponseWriter, r *http.Request, limit int64, tooLarge string) ([]byte, *protocol.Error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, nil
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, &protocol.Error{Code: protocol.CodeBadRequest, Message: tooLarge}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &protocol.Error{Code: protocol.CodeBadRequest, Message: "the body did not arrive in time"}
	}
	return nil, &protocol.Error{Code: protocol.CodeBadRequest, Message: "the body ended too early"}
}

// apiName checks an id in the path.
func apiName(r *http.Request, field string) (string, *protocol.Error) {
	name := r.PathValue(field)
	if err := protocol.CheckName(name); err != nil {
		return "", &protocol.Error{Code: protocol.CodeBadRequest, Message: field + " " + err.Error()}
	}
	return name, nil
}
