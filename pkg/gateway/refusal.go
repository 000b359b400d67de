package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wscluster/wscluster/pkg/protocol"
)

// refuse answers an HTTP request with a code and a sentence, as docs/protocol.md says for everything before the upgrade.
// retryAfter is in seconds; 0: none is given.
func refuse(w http.ResponseWriter, status int, code protocol.Code, message string, retryAfter int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(status)
	// A client that is gone cannot be told; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(struct {
		Code    protocol.Code `json:"code"`
		Message string        `json:"message"`
	}{code, message})
}
