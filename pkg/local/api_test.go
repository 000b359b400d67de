package local_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

func TestABackendSendsByTheServerAPI(t *testing.T) {
	t.Parallel()
	send := func(address, key string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/users/alice/messages", strings.NewReader(`{"data":"from the backend"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	t.Run("with the key that is made, on whatever gateway", func(t *testing.T) {
		t.Parallel()
		file := clusterFile(t, "{replicas: 2, auth: {type: TrustedUserID}}")
		run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
		address := run.AwaitUp()
		found := run.Await(`Backend +http://(\S+)/v1 .* key is in (\S+)\)`)
		key, err := os.ReadFile(filepath.Join(run.Folder(), found[2]))
		if err != nil {
			t.Fatal(err)
		}
		alice := connect(t, address, "alice", "127.0.0.1")
		for range 4 { // they take turns
			if status := send(found[1], strings.TrimSpace(string(key))); status != http.StatusOK {
				t.Fatalf("the API answers %d, want 200", status)
			}
			if got := alice.await("message"); got["data"] != "from the backend" || got["from"] != nil {
				t.Fatalf("alice got %v, want the backend's message", got)
			}
		}
		if status := send(found[1], "guessed"); status != http.StatusUnauthorized {
			t.Errorf("with a wrong key the API answers %d, want 401", status)
		}
		run.Interrupt()
		run.AwaitEnd()
		again := localtest.StartIn(t, run.Folder(), wsc, nil, "-f", file, "--port", "0")
		again.AwaitUp()
		if kept, err := os.ReadFile(filepath.Join(run.Folder(), found[2])); err != nil || !bytes.Equal(kept, key) {
			t.Errorf("the next run has another key (%v), want the same", err)
		}
	})
	t.Run("with the keys of a Secret", func(t *testing.T) {
		t.Parallel()
		secret := t.TempDir()
		if err := os.WriteFile(filepath.Join(secret, "api-key"), []byte("old\nnew\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run := localtest.Start(t, wsc, nil, "-f", clusterFile(t, "{replicas: 1, auth: {type: TrustedUserID}, api: {keySecretRef: {name: keys}}}"), "--port", "0", "--secret", "keys="+secret)
		alice := connect(t, run.AwaitUp(), "alice", "127.0.0.1")
		if status := send(run.Await(`Backend +http://(\S+)/v1 `)[1], "new"); status != http.StatusOK {
			t.Fatalf("the API answers %d, want 200", status)
		}
		alice.await("message")
	})
	t.Run("unless the file turns it off", func(t *testing.T) {
		t.Parallel()
		file := clusterFile(t, "{replicas: 1, api: {mode: Disabled}}")
		run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0")
		run.AwaitUp()
		if slices.ContainsFunc(run.Lines(), func(line string) bool { return strings.Contains(line, "Backend  ") }) {
			t.Error("it tells of a server API that the file turns off")
		}
		edit(t, file, "{replicas: 1}")
		run.Await(`api.mode: cannot be changed while it runs`)
	})
}
