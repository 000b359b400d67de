// Package demo is the chat page that a gateway serves at / when it is started with --demo: plain HTML, CSS and JavaScript
// modules, embedded, without a build step and without a request to anywhere else. It speaks the wire protocol like any other
// client; nothing of the gateway depends on it. It owns the page and the headers it is served with, not the /ws endpoint.
package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed page
var page embed.FS

// contentSecurityPolicy lets the page load only its own files and talk only to its own host: no inline script or style,
// no frames around it, nothing submitted anywhere.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"

type file struct {
	content          []byte
	contentType, tag string
}

// Handler serves the page at / and its files beside it. It answers GET and HEAD, and 404 for every other path, so it can be
// mounted as the last route. Browsers keep the files and ask each time whether they changed: a new gateway is a new page,
// never a mix of both. The handler is safe for concurrent use.
func Handler() http.Handler {
	files := map[string]file{}
	names, err := fs.Glob(page, "page/*")
	if err != nil {
		panic(err) // only a malformed pattern
	}
	for _, name := range names {
		content, err := page.ReadFile(name)
		if err != nil {
			panic(err) // the files are part of the binary
		}
		sum := sha256.Sum256(content)
		files["/"+path.Base(name)] = file{content, contentType(name), `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	files["/"] = files["/index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, found := files[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the chat page only answers GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

// contentType does not ask the machine's own table, which may say text/plain for .js and so keep modules from running.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return "application/octet-stream"
	}
}
