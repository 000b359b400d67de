package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/manifests"
)

// secrets finds the entries of the Secrets that a spec names: each Secret is a folder with one file an entry, as a pod that
// mounts it would see it.
type secrets map[string]string

// check says which Secrets the cluster needs and how to provide them, all in one error.
func (s secrets) check(cluster *v1alpha1.WebSocketCluster) error {
	var missing []error
	for _, ref := range manifests.ReferencedSecrets(cluster) {
		folder, found := s[ref.Name]
		if !found {
			missing = append(missing, fmt.Errorf("the Secret %q is needed for its entry %q: give a folder with a file of that name as --secret %s=FOLDER", ref.Name, ref.Key, ref.Name))
			continue
		}
		if _, err := os.Stat(filepath.Join(folder, ref.Key)); err != nil {
			missing = append(missing, fmt.Errorf("the Secret %q: %w", ref.Name, err))
		}
	}
	return errors.Join(missing...)
}

// file returns the path of an entry, absolute, since children may run elsewhere; empty for a nil reference.
func (s secrets) file(ref *v1alpha1.SecretKeyReference) string {
	if ref == nil {
		return ""
	}
	path := filepath.Join(s[ref.Name], ref.Key)
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}
