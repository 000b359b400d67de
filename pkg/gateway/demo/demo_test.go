package demo_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/pkg/gateway/demo"
)

func get(t *testing.T, method, path string, header map[string]string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	demo.Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), body
}

func TestEveryFileIsServedWithItsTypeAndAStrictPolicy(t *testing.T) {
	for path, contentType := range map[string]string{
		"/":           "text/html; charset=utf-8",
		"/index.html": "text/html; charset=utf-8",
		"/style.css":  "text/css; charset=utf-8",
		"/main.js":    "text/javascript; charset=utf-8",
		"/session.js": "text/javascript; charset=utf-8",
		"/icon.svg":   "image/svg+xml",
	} {
		response, body := get(t, http.MethodGet, path, nil)
		if response.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("GET %s: status %d with %d bytes, want 200 and the file", path, response.StatusCode, len(body))
		}
		if got := response.Header.Get("Content-Type"); got != contentType {
			t.Errorf("GET %s: Content-Type %q, want %q", path, got, contentType)
		}
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("GET %s: Content-Security-Policy %q is not strict", path, policy)
		}
		if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("GET %s: X-Content-Type-Options %q, want nosniff", path, got)
		}
	}
}

func TestAFileThatDidNotChangeIsNotSentAgain(t *testing.T) {
	first, _ := get(t, http.MethodGet, "/main.js", nil)
	if got := first.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("Cache-Control %q, want no-cache: a new gateway must not run with the modules of an old one", got)
	}
	again, body := get(t, http.MethodGet, "/main.js", map[string]string{"If-None-Match": first.Header.Get("ETag")})
	if again.StatusCode != http.StatusNotModified || len(body) != 0 {
		t.Errorf("with the ETag: status %d and %d bytes, want 304 and none", again.StatusCode, len(body))
	}
	stale, _ := get(t, http.MethodGet, "/main.js", map[string]string{"If-None-Match": `"older"`})
	if stale.StatusCode != http.StatusOK {
		t.Errorf("with another ETag: status %d, want 200", stale.StatusCode)
	}
}

func TestWhatIsNotThePageIsRefused(t *testing.T) {
	for _, path := range []string{"/nothing", "/page/main.js", "/../demo.go", "/main.js/"} {
		if response, _ := get(t, http.MethodGet, path, nil); response.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", path, response.StatusCode)
		}
	}
	response, _ := get(t, http.MethodPost, "/", nil)
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: status %d, Allow %q, want 405 with GET, HEAD", response.StatusCode, response.Header.Get("Allow"))
	}
}

// The policy would block inline code silently, and innerHTML is how another user's text becomes code.
func TestThePageNeverTurnsTextIntoMarkup(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|` +
		`https?://|\sstyle="|\son[a-z]+="|<script>|<style>`)
	namespace := []byte("http://www.w3.org/2000/svg") // a name, not an address
	err := filepath.WalkDir("page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range bytes.Split(bytes.ReplaceAll(content, namespace, nil), []byte("\n")) {
			if found := forbidden.Find(line); found != nil {
				t.Errorf("%s:%d has %q", path, i+1, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
