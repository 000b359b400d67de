package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree makes a folder with a program, a data file in a folder and a symbolic link, all with the given time and umask-like mode.
func tree(t *testing.T, when time.Time, dataMode os.FileMode) string {
	t.Helper()
	root := t.TempDir()
	write := func(name string, mode os.FileMode) {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(full, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/bin/program", 0o700)
	write("etc/data", dataMode)
	if err := os.Symlink("program", filepath.Join(root, "usr/bin/alias")); err != nil {
		t.Fatal(err)
	}
	return root
}

func archiveOf(t *testing.T, mappings ...Mapping) []byte {
	t.Helper()
	var out bytes.Buffer
	image := Image{References: []string{"wscluster.dev/test:1", "wscluster.dev/test:dev"}, Entrypoint: []string{"/usr/bin/program", "-x"}, User: "65532:65532", Architecture: "amd64", Files: mappings}
	if err := Write(&out, image); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	first := archiveOf(t, Mapping{tree(t, time.Now(), 0o644), "/"})
	second := archiveOf(t, Mapping{tree(t, time.Now().Add(-time.Hour), 0o600), "/"})
	if !bytes.Equal(first, second) {
		t.Error("two archives of equal contents with other times and modes differ")
	}
	other := tree(t, time.Now(), 0o644)
	if err := os.WriteFile(filepath.Join(other, "etc/data"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, archiveOf(t, Mapping{other, "/"})) {
		t.Error("a changed file did not change the archive")
	}
}

// contents reads a tar into name → "type mode uid:gid link", and the bytes of each file.
func contents(t *testing.T, archive []byte) (map[string]string, map[string][]byte) {
	t.Helper()
	entries, files := map[string]string{}, map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s has the time %s; every entry must be of 1970", h.Name, h.ModTime)
		}
		kind := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "folder", tar.TypeSymlink: "link"}[h.Typeflag]
		entries[h.Name] = strings.TrimSpace(kind + " " + os.FileMode(h.Mode).String() + " " + h.Linkname)
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s belongs to %d:%d %q; want 0:0", h.Name, h.Uid, h.Gid, h.Uname)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnArchiveHoldsConfigurationManifestAndLayer(t *testing.T) {
	root := tree(t, time.Now(), 0o644)
	_, files := contents(t, archiveOf(t, Mapping{filepath.Join(root, "usr"), "/opt/usr"}, Mapping{filepath.Join(root, "etc/data"), "/data"}))

	var manifest []manifestEntry
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"wscluster.dev/test:1", "wscluster.dev/test:dev"}, manifest[0].RepoTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	layer := files[manifest[0].Layers[0]]
	digest := sha256.Sum256(layer)
	var config imageConfig
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	want := imageConfig{
		Architecture: "amd64", OS: "linux", Created: "1970-01-01T00:00:00Z",
		Config: processSetup{
			Entrypoint: []string{"/usr/bin/program", "-x"}, User: "65532:65532", WorkingDir: "/",
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + hex.EncodeToString(digest[:])}},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}

	entries, layerFiles := contents(t, layer)
	wantEntries := map[string]string{
		"data":                "file -rw-r--r--",
		"opt/":                "folder -rwxr-xr-x",
		"opt/usr/":            "folder -rwxr-xr-x",
		"opt/usr/bin/":        "folder -rwxr-xr-x",
		"opt/usr/bin/program": "file -rwxr-xr-x",
		"opt/usr/bin/alias":   "link -rwxrwxrwx program",
	}
	if diff := cmp.Diff(wantEntries, entries); diff != "" {
		t.Errorf("entries of the layer (-want +got):\n%s", diff)
	}
	if got := string(layerFiles["data"]); got != "content of etc/data" {
		t.Errorf("/data holds %q", got)
	}
}

func TestASocketOrPipeIsRefusedByName(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Write(io.Discard, Image{Files: []Mapping{{pipe, "/pipe"}}})
	if err == nil || !strings.Contains(err.Error(), pipe+" is neither a file, a folder nor a symbolic link") {
		t.Errorf("got error %v", err)
	}
}

func TestAWrongCommandLineIsExplained(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	for _, c := range []struct{ args, want string }{
		{"-ref a:1 -entrypoint /a -out " + out + " /bin/true", `"/bin/true" is not SOURCE:DESTINATION`},
		{"-ref a:1 -out " + out + " /bin/true:/a", "-entrypoint and at least one SOURCE:DESTINATION are needed"},
		{"-ref a:1 -entrypoint /a -out " + out + " /no/such:/a", "/no/such: no such file"},
	} {
		if err := run(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("archive %s: got error %v, want one with %q", c.args, err, c.want)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) != 0 {
			t.Errorf("archive %s left %v behind", c.args, left)
		}
	}
}
