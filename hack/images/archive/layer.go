package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Mapping places a file or a folder of this machine into the image.
type Mapping struct {
	Source      string
	Destination string // absolute path inside the image
}

// entry is one path of a layer: a folder (source empty), a file or a symbolic link.
type entry struct {
	source string
	link   string
	mode   int64
	size   int64
}

// epoch is every entry's time: a build must not tell when it ran.
var epoch = time.Unix(0, 0).UTC()

// writeLayer writes the mappings as an uncompressed tar with sorted entries. Parents of every path are folders of mode
// 0755, also when the source had others; special files (sockets, devices) are refused.
func writeLayer(w io.Writer, mappings []Mapping) error {
	entries, err := collect(mappings)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names) // a parent sorts before its children
	tw := tar.NewWriter(w)
	for _, name := range names {
		if err := writeEntry(tw, name, entries[name]); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	return tw.Close()
}

// collect walks all mappings into one map keyed by the path in the image, without the leading slash.
func collect(mappings []Mapping) (map[string]entry, error) {
	entries := map[string]entry{}
	for _, m := range mappings {
		err := filepath.WalkDir(m.Source, func(source string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(m.Source, source)
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path.Join("/", m.Destination, filepath.ToSlash(relative)), "/")
			e, err := describe(source, d)
			if err != nil {
				return err
			}
			if name != "" {
				entries[name] = e
			}
			for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
				if _, known := entries[dir]; !known {
					entries[dir] = entry{mode: 0o755}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func describe(source string, d fs.DirEntry) (entry, error) {
	info, err := d.Info()
	if err != nil {
		return entry{}, err
	}
	switch {
	case info.IsDir():
		return entry{mode: 0o755}, nil
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(source)
		return entry{link: link, mode: 0o777}, err
	case info.Mode().IsRegular():
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		return entry{source: source, mode: mode, size: info.Size()}, nil
	default:
		return entry{}, fmt.Errorf("%s is neither a file, a folder nor a symbolic link", source)
	}
}

func writeEntry(tw *tar.Writer, name string, e entry) error {
	header := &tar.Header{Name: name, Mode: e.mode, ModTime: epoch, Format: tar.FormatPAX}
	switch {
	case e.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.link
	case e.source == "":
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	default:
		header.Typeflag, header.Size = tar.TypeReg, e.size
	}
	if err := tw.WriteHeader(header); err != nil || e.source == "" {
		return err
	}
	file, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(tw, file)
	return err
}
