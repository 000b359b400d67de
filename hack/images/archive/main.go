// Command archive writes a container image as a docker-archive (the format of `docker save`) from files on disk, without
// a container engine, a registry or root. It owns the format and its reproducibility; what goes into which image is
// hack/images/build.sh's.
//
// The same files give the same bytes: entries are sorted, times are 1970, owners are root, modes are 0755 or 0644.
//
//	archive -ref NAME:TAG[,...] -entrypoint /path[,ARG...] -user UID:GID -out FILE SOURCE:DESTINATION...
//
// SOURCE is a file or a folder, DESTINATION its place in the image.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("archive", flag.ContinueOnError)
	out := flags.String("out", "", "file to write")
	var image Image
	references := flags.String("ref", "", "names with tags, such as wscluster.dev/gateway:dev, comma-separated")
	flags.StringVar(&image.User, "user", "65532:65532", "numeric user and group of the process")
	flags.StringVar(&image.Architecture, "arch", runtime.GOARCH, "architecture of the binaries inside")
	entrypoint := flags.String("entrypoint", "", "program and arguments, comma-separated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	image.References = strings.Split(*references, ",")
	image.Entrypoint = strings.Split(*entrypoint, ",")
	for _, pair := range flags.Args() {
		source, destination, ok := strings.Cut(pair, ":")
		if !ok {
			return fmt.Errorf("%q is not SOURCE:DESTINATION", pair)
		}
		image.Files = append(image.Files, Mapping{Source: source, Destination: destination})
	}
	if *out == "" || *references == "" || *entrypoint == "" || len(image.Files) == 0 {
		return fmt.Errorf("-out, -ref, -entrypoint and at least one SOURCE:DESTINATION are needed")
	}
	return writeFile(*out, image)
}

// writeFile writes the archive beside its final name and renames it, so that a reader never sees half an image.
func writeFile(path string, image Image) error {
	partial, err := os.CreateTemp(filepath.Dir(path), ".archive-*")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name()) // fails after the rename, as it should
	if err := Write(partial, image); err != nil {
		_ = partial.Close()
		return err
	}
	if err := partial.Chmod(0o644); err != nil {
		return err
	}
	if err := partial.Close(); err != nil {
		return err
	}
	return os.Rename(partial.Name(), path)
}
