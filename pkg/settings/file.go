package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// assignment is a key of the file that gave a setting.
type assignment struct {
	// key is as written, such as drainRate or drain.reconnectsPerSecond.
	key   string
	where string
}

// fileReader carries one file into a Settings.
type fileReader struct {
	file *yamlFile
	into *Settings
	// from says where each path came from, as errors print it: "file:line: key".
	from map[string]string
	// given finds a setting that was written twice, once in each form.
	given map[string]assignment
}

// readFile applies a file to the settings, and notes in from where each value came from.
func readFile(name string, data []byte, into *Settings, from map[string]string) error {
	file, err := parseYAML(name, data)
	if err != nil {
		return err
	}
	reader := &fileReader{file: file, into: into, from: from, given: map[string]assignment{}}
	return reader.group("", file.root)
}

// group reads the keys of one mapping; prefix is "" at the top and ends in a dot below.
func (r *fileReader) group(prefix string, mapping *ast.MappingNode) error {
	entries, err := r.file.entries(mapping)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.entry(prefix, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *fileReader) entry(prefix string, e entry) error {
	key := prefix + e.key
	if mapping, ok := e.value.(*ast.MappingNode); ok && isGroup(key) {
		return r.group(key+".", mapping)
	}
	switch key {
	case "limits", "drain", "directMessages", "auth.jwt":
		return fmt.Errorf("%s: %s: must be a group of keys such as {%s}, not %s", e.where, key, strings.Join(keysUnder(key+"."), ", "), describe(e.value))
	case "rooms":
		return r.rooms(e)
	case "inbox":
		return r.inbox(e)
	}
	for _, o := range options {
		if key == o.path || prefix == "" && (key == o.key || key == o.alias) {
			return r.option(o, key, e)
		}
	}
	if key == "directMessages.publish" {
		return r.set(key, key, e, directMessagesValue(r.into))
	}
	return r.unknown(prefix, e)
}

// option sets one option, and refuses a second way of writing the same.
func (r *fileReader) option(o *option, key string, e entry) error {
	return r.set(o.path, key, e, o.bind(r.into))
}

func (r *fileReader) set(path, key string, e entry, field value) error {
	where := e.where + ": " + key
	if first, twice := r.given[path]; twice {
		return fmt.Errorf("%s: is already given as %s (%s); keep one of the two", where, first.key, first.where)
	}
	r.given[path] = assignment{key: key, where: e.where}
	r.from[path] = where
	if err := field.fromNode(e.value); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if err := field.check(); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// isGroup says whether a key can hold keys. Rooms and inbox have readers of their own.
func isGroup(key string) bool {
	switch key {
	case "auth", "auth.jwt", "limits", "drain", "directMessages":
		return true
	}
	return false
}

// keysUnder lists the keys that may stand in the group with that prefix.
func keysUnder(prefix string) []string {
	var keys []string
	add := func(key string) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, o := range options {
		if prefix == "" {
			add(o.key)
		}
		if rest, ok := strings.CutPrefix(o.path, prefix); ok {
			first, _, _ := strings.Cut(rest, ".")
			add(first)
		}
	}
	switch prefix {
	case "":
		add("rooms")
		add("inbox")
		add("directMessages")
	case "directMessages.":
		add("publish")
	}
	return keys
}

// elsewhere answers keys that people bring along from somewhere else.
var elsewhere = map[string]string{
	"apiVersion": "this looks like a WebSocketCluster; run that with `wsc run -f` or `kubectl apply -f`, the gateway takes its own settings file",
	"kind":       "this looks like a WebSocketCluster; run that with `wsc run -f` or `kubectl apply -f`, the gateway takes its own settings file",
	"spec":       "this looks like a WebSocketCluster; run that with `wsc run -f` or `kubectl apply -f`, the gateway takes its own settings file",
	"gateway":    "write the keys of spec.gateway at the top level",
	"config":     "a file cannot name another one; it is only a flag",
	"check":      "it is only a flag",
	"version":    "it is only a flag",
}

func (r *fileReader) unknown(prefix string, e entry) error {
	if prefix == "" && elsewhere[e.key] != "" {
		return fmt.Errorf("%s: %s: is not a key of this file: %s", e.where, e.key, elsewhere[e.key])
	}
	keys := keysUnder(prefix)
	hint := suggest(e.key, keys)
	// A flag's name instead of its key is the likeliest slip at the top level.
	for _, o := range options {
		if prefix == "" && (e.key == o.flag || e.key == o.environment() || e.key+"Seconds" == o.key) {
			hint = "; did you mean " + o.key + "?"
		}
	}
	if hint == "" && prefix == "" {
		hint = "; docs/configuration.md lists all keys"
	} else if hint == "" {
		hint = "; allowed are " + strings.Join(keys, ", ")
	}
	return fmt.Errorf("%s: %s: is not a known key%s", e.where, oneLine(prefix+e.key), hint)
}
