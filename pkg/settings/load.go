package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Parse reads a settings file over the defaults and validates the whole. The name is used in errors, which are one line that
// starts with name:line and the key. It opens no file.
func Parse(name string, data []byte) (Settings, error) {
	s, from := Default(), map[string]string{}
	if err := readFile(name, data, &s, from); err != nil {
		return Settings{}, err
	}
	return finish(s, from)
}

// Load is Parse of a file on disk. It reads no flags and no environment; FromCommandLine does.
func Load(path string) (Settings, error) {
	data, err := readSmallFile(path)
	if err != nil {
		return Settings{}, fmt.Errorf("settings file: %w", err)
	}
	return Parse(path, data)
}

// finish validates merged settings.
func finish(s Settings, from map[string]string) (Settings, error) {
	if where, asked := from["apiListen"]; asked && s.APIListen != "" && s.APIKeyFile == "" {
		return Settings{}, (&keyError{"apiListen", fmt.Errorf("the server API needs keys: set {api-key-file}, or leave this out to keep the API off")}).
			explain(map[string]string{"apiListen": where})
	}
	if wrong := s.validate(); wrong != nil {
		return Settings{}, wrong.explain(from)
	}
	return s, nil
}

// readSmallFile reads a file of at most 1 MiB. Its errors name the path and what to do.
func readSmallFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, plainFileError(path, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, plainFileError(path, err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s is over 1 MiB", path)
	}
	return data, nil
}

func plainFileError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this process (user %d): change its owner or mode", path, os.Getuid())
	}
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	return fmt.Errorf("%s cannot be read: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
}
