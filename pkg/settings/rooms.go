package settings

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// The defaults of a history and an inbox that are asked for without figures, and the bounds of the figures.
const (
	defaultHistorySize  = 1000
	defaultHistoryTTL   = 600 * time.Second
	defaultInboxSize    = 100
	defaultInboxTTL     = 86400 * time.Second
	defaultInboxBytes   = 262144
	maxLogSize          = 1_000_000
	maxLogTTL           = 365 * 24 * time.Hour
	maxReplicasBound    = 16
	maxInboxBytesBound  = 1 << 30
	maxRoomPatternRunes = 256
)

// Who may, at each place. The words and their meaning are those of the custom resource.
var (
	joinAccess    = words("anyone", "authenticated", "token", "none")
	publishAccess = words("anyone", "authenticated", "members", "token", "server", "none")
	directAccess  = words("anyone", "authenticated", "server", "none")
)

func directMessagesValue(s *Settings) value {
	return choiceValue[Access]{field: &s.DirectMessages.Publish, choices: directAccess, optional: true}
}

// roomFields lists what a room policy holds besides its history.
func roomFields(policy *RoomPolicy) map[string]value {
	return map[string]value{
		"match":    textValue{&policy.Match, checkRoomPattern, "chat:*"},
		"presence": switchValue{&policy.Presence},
		"join":     choiceValue[Access]{field: &policy.Join, choices: joinAccess},
		"publish":  choiceValue[Access]{field: &policy.Publish, choices: publishAccess},
	}
}

func historyFields(history *History) map[string]value {
	return map[string]value{
		"size":        numberValue{&history.Size, 1, maxLogSize},
		"ttlSeconds":  durationValue{&history.TTL, time.Second, maxLogTTL},
		"minReplicas": numberValue{&history.MinReplicas, 0, maxReplicasBound},
	}
}

func inboxFields(inbox *Inbox) map[string]value {
	return map[string]value{
		"size":       numberValue{&inbox.Size, 1, maxLogSize},
		"ttlSeconds": durationValue{&inbox.TTL, time.Second, maxLogTTL},
		"maxBytes":   numberValue{&inbox.MaxBytes, minMessageBytes, maxInboxBytesBound},
	}
}

func checkRoomPattern(pattern string) error {
	if pattern == "" {
		return fmt.Errorf("must be a glob over room ids such as \"chat:*\" (* is any run of characters, ? is one)")
	}
	if length := utf8.RuneCountInString(pattern); length > maxRoomPatternRunes {
		return fmt.Errorf("must be at most %d characters, not %d", maxRoomPatternRunes, length)
	}
	return nil
}

// rooms reads the list of room policies, and replaces the one that was there.
func (r *fileReader) rooms(e entry) error {
	sequence, ok := e.value.(*ast.SequenceNode)
	if !ok {
		return fmt.Errorf("%s: rooms: must be a list such as [{match: \"chat:*\", join: anyone}], not %s", e.where, describe(e.value))
	}
	r.into.Rooms = nil
	for i, node := range sequence.Values {
		key := fmt.Sprintf("rooms[%d]", i)
		mapping, ok := node.(*ast.MappingNode)
		if !ok {
			return fmt.Errorf("%s: %s: must be a policy such as {match: \"chat:*\", join: anyone}, not %s", r.file.at(node), key, describe(node))
		}
		policy := DefaultRoomPolicy()
		policy.Match = ""
		if err := r.room(key, mapping, &policy); err != nil {
			return err
		}
		if policy.Match == "" {
			return fmt.Errorf("%s: %s.match: %w", r.file.at(firstKey(mapping)), key, checkRoomPattern(""))
		}
		r.into.Rooms = append(r.into.Rooms, policy)
	}
	return nil
}

func firstKey(mapping *ast.MappingNode) ast.Node {
	if len(mapping.Values) > 0 {
		return mapping.Values[0].Key
	}
	return mapping
}

func (r *fileReader) room(key string, mapping *ast.MappingNode, policy *RoomPolicy) error {
	entries, err := r.file.entries(mapping)
	if err != nil {
		return err
	}
	history := slices.IndexFunc(entries, func(e entry) bool { return e.key == "history" })
	if history >= 0 {
		policy.History = &History{Size: defaultHistorySize, TTL: defaultHistoryTTL}
		if err := r.section(key+".history", entries[history], historyFields(policy.History)); err != nil {
			return err
		}
		entries = slices.Delete(entries, history, history+1)
	}
	return r.fields(key, entries, roomFields(policy), "history")
}

func (r *fileReader) inbox(e entry) error {
	r.into.Inbox = &Inbox{Size: defaultInboxSize, TTL: defaultInboxTTL, MaxBytes: defaultInboxBytes}
	return r.section("inbox", e, inboxFields(r.into.Inbox))
}

// section reads a mapping into fields that belong together.
func (r *fileReader) section(key string, e entry, fields map[string]value) error {
	mapping, ok := e.value.(*ast.MappingNode)
	if !ok {
		return fmt.Errorf("%s: %s: must be a group of keys (%s), not %s", e.where, key, strings.Join(sortedKeys(fields), ", "), describe(e.value))
	}
	entries, err := r.file.entries(mapping)
	if err != nil {
		return err
	}
	return r.fields(key, entries, fields)
}

// fields sets what entries say; also names keys that are known but were read before.
func (r *fileReader) fields(key string, entries []entry, fields map[string]value, also ...string) error {
	for _, e := range entries {
		path := key + "." + e.key
		field, known := fields[e.key]
		if !known {
			keys := append(sortedKeys(fields), also...)
			slices.Sort(keys)
			hint := suggest(e.key, keys)
			if hint == "" {
				hint = "; allowed are " + strings.Join(keys, ", ")
			}
			return fmt.Errorf("%s: %s: is not a known key%s", e.where, oneLine(path), hint)
		}
		if err := r.set(path, path, e, field); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(fields map[string]value) []string {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
