package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
)

// Image is what an image consists of: one layer and how to start it.
type Image struct {
	References   []string // name:tag, one or more
	Entrypoint   []string
	User         string // numeric UID:GID, so that runAsNonRoot can be checked without an /etc/passwd
	Architecture string // GOARCH
	Files        []Mapping
}

// imageConfig is the part of the image specification's configuration that we use.
type imageConfig struct {
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	Created      string       `json:"created"`
	Config       processSetup `json:"config"`
	RootFS       rootFS       `json:"rootfs"`
}

type processSetup struct {
	Entrypoint []string `json:"Entrypoint"`
	User       string   `json:"User"`
	Env        []string `json:"Env"`
	WorkingDir string   `json:"WorkingDir"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Write writes the image as a docker-archive.
func Write(w io.Writer, image Image) error {
	layer, err := os.CreateTemp("", "layer-*")
	if err != nil {
		return err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	digest := sha256.New()
	if err := writeLayer(io.MultiWriter(layer, digest), image.Files); err != nil {
		return err
	}
	size, err := layer.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}

	layerID := hex.EncodeToString(digest.Sum(nil))
	config, err := json.Marshal(configOf(image, "sha256:"+layerID))
	if err != nil {
		return err
	}
	configID := sha256.Sum256(config)
	configName := hex.EncodeToString(configID[:]) + ".json"
	layerName := layerID + ".tar"
	manifest, err := json.Marshal([]manifestEntry{{Config: configName, RepoTags: image.References, Layers: []string{layerName}}})
	if err != nil {
		return err
	}

	tw := tar.NewWriter(w)
	if err := putFile(tw, layerName, size, layer); err != nil {
		return err
	}
	if err := putBytes(tw, configName, config); err != nil {
		return err
	}
	if err := putBytes(tw, "manifest.json", manifest); err != nil {
		return err
	}
	return tw.Close()
}

func configOf(image Image, diffID string) imageConfig {
	return imageConfig{
		Architecture: image.Architecture,
		OS:           "linux",
		Created:      "1970-01-01T00:00:00Z",
		Config: processSetup{
			Entrypoint: image.Entrypoint,
			User:       image.User,
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			WorkingDir: "/",
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{diffID}},
	}
}

func putFile(tw *tar.Writer, name string, size int64, content io.Reader) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}

func putBytes(tw *tar.Writer, name string, content []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: epoch}); err != nil {
		return err
	}
	_, err := tw.Write(content)
	return err
}
