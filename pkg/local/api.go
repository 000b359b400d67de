package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// apiKeyFile returns the file with the keys of the server API; empty: the API is off. made says that it is this program that
// makes the key, in the working folder, since a backend's developer wants the same one tomorrow.
func apiKeyFile(cluster *v1alpha1.WebSocketCluster, known secrets) (file string, made bool, err error) {
	if cluster.Spec.API.Mode != v1alpha1.ModeEnabled {
		return "", false, nil
	}
	if ref := cluster.Spec.API.KeySecretRef; ref != nil {
		return known.file(&v1alpha1.SecretKeyReference{Name: ref.Name, Key: manifests.APIKeyKey}), false, nil
	}
	file, err = filepath.Abs(filepath.Join(storageFolder(cluster), "api-key"))
	return file, true, err
}

// storageFolder holds what outlives the command.
func storageFolder(cluster *v1alpha1.WebSocketCluster) string {
	return filepath.Join(storageRoot, cluster.Namespace+"."+cluster.Name)
}

// ensureKey makes the key, unless there is one. Only this user can read it.
func ensureKey(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	made, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(made, rand.Text())
	return errors.Join(err, made.Close())
}

// listenForAPI takes the server API's port: the given one, or the one after the clients' port, or the next that is free. It is on
// 127.0.0.1, as the API's Service is never outside of its cluster either. nil: the file turns the API off.
func listenForAPI(d *desired, port int, clients net.Listener) (net.Listener, string, error) {
	if d.settings.APIKeyFile == "" {
		return nil, "", nil
	}
	if port == 0 {
		if port = clients.Addr().(*net.TCPAddr).Port + 1; port > 65535 {
			port = 0
		}
	}
	listener, note, err := listen("127.0.0.1", port)
	if note != "" {
		note = "the server API: " + note
	}
	return listener, note, err
}

// apiReady has a gateway answer for the server API, or no longer.
func (r *runner) apiReady(m *member, ready bool) {
	switch {
	case r.api == nil:
	case ready:
		r.api.ready(m.name, loopback(m.apiPort))
	default:
		r.api.unready(m.name)
	}
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
