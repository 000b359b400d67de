package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// value is one field of a Settings, bound to the way it is written. The same value reads a flag's or a variable's text
// and a node of the file, so that bounds and sentences exist once.
type value interface {
	// fromText reads what a flag or an environment variable holds.
	fromText(text string) error
	// fromNode reads what the file holds; aliases are already followed and null never comes here.
	fromNode(node ast.Node) error
	// check says in one sentence what is wrong with the field as it stands, or nil.
	check() error
	// String returns the field as a flag would take it.
	String() string
}

// textValue is a field of free text with a rule of its own.
type textValue struct {
	field *string
	// rule may be nil. It also sees the empty text.
	rule func(string) error
	// example completes "write it in quotes" for a number where text is due.
	example string
}

func (v textValue) fromText(text string) error { *v.field = text; return nil }

func (v textValue) fromNode(node ast.Node) error {
	text, ok := textOf(node)
	if !ok {
		return fmt.Errorf("must be text%s, not %s", quotedExample(v.example), describe(node))
	}
	*v.field = text
	return nil
}

func (v textValue) check() error {
	if err := checkText(*v.field); err != nil {
		return err
	}
	if v.rule == nil {
		return nil
	}
	return v.rule(*v.field)
}

func (v textValue) String() string { return *v.field }

func quotedExample(example string) string {
	if example == "" {
		return ""
	}
	return fmt.Sprintf(" such as %q", example)
}

// checkText refuses what no setting may hold: it would break a log line, a header or a key.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("must be valid UTF-8")
	}
	if strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return fmt.Errorf("must not hold control characters such as line breaks or tabs")
	}
	return nil
}

// numberValue is a whole number between two bounds, both allowed.
type numberValue struct {
	field    *int
	min, max int
}

func (v numberValue) fromText(text string) error {
	number, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("must be a whole number from %d to %d, not %q", v.min, v.max, text)
	}
	*v.field = number
	return nil
}

func (v numberValue) fromNode(node ast.Node) error {
	number, ok := numberOf(node)
	if !ok {
		return fmt.Errorf("must be a whole number from %d to %d, not %s", v.min, v.max, describe(node))
	}
	*v.field = number
	return nil
}

func (v numberValue) check() error {
	if *v.field < v.min || *v.field > v.max {
		return fmt.Errorf("must be from %d to %d, not %d", v.min, v.max, *v.field)
	}
	return nil
}

func (v numberValue) String() string { return strconv.Itoa(*v.field) }

// durationValue is a time span between two bounds. Flags write it like 25s or 1m30s, files as whole seconds.
type durationValue struct {
	field    *time.Duration
	min, max time.Duration
}

func (v durationValue) fromText(text string) error {
	text = strings.TrimSpace(text)
	// A bare number is what the file and the custom resource take, so a person will try it here.
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		*v.field = time.Duration(seconds) * time.Second
		return nil
	}
	span, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("must be a duration from %s to %s such as 25s or 1m30s, not %q", shortSpan(v.min), shortSpan(v.max), text)
	}
	*v.field = span
	return nil
}

func (v durationValue) fromNode(node ast.Node) error {
	seconds, ok := numberOf(node)
	if !ok || seconds > 1<<31 || seconds < -1<<31 {
		return fmt.Errorf("must be whole seconds from %d to %d written as a number, not %s", wholeSeconds(v.min), int64(v.max/time.Second), describe(node))
	}
	*v.field = time.Duration(seconds) * time.Second
	return nil
}

// wholeSeconds rounds a lower bound up to what a file can write.
func wholeSeconds(span time.Duration) int64 { return int64((span + time.Second - 1) / time.Second) }

func (v durationValue) check() error {
	if *v.field < v.min || *v.field > v.max {
		return fmt.Errorf("must be from %s to %s, not %s", shortSpan(v.min), shortSpan(v.max), shortSpan(*v.field))
	}
	return nil
}

func (v durationValue) String() string { return shortSpan(*v.field) }

// shortSpan writes whole seconds as 60s, not 1m0s: the file and the custom resource count in seconds too.
func shortSpan(span time.Duration) string {
	if span%time.Second == 0 {
		return strconv.FormatInt(int64(span/time.Second), 10) + "s"
	}
	return span.String()
}

// switchValue is on or off. Files may also say Enabled and Disabled, as the custom resource does.
type switchValue struct{ field *bool }

func (v switchValue) fromText(text string) error {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "enabled":
		*v.field = true
	case "false", "disabled":
		*v.field = false
	default:
		return fmt.Errorf("must be true or false (or Enabled or Disabled), not %q", text)
	}
	return nil
}

func (v switchValue) fromNode(node ast.Node) error {
	if truth, ok := node.(*ast.BoolNode); ok {
		*v.field = truth.Value
		return nil
	}
	text, ok := textOf(node)
	if !ok {
		return fmt.Errorf("must be Enabled or Disabled (or true or false), not %s", describe(node))
	}
	return v.fromText(text)
}

func (v switchValue) check() error   { return nil }
func (v switchValue) String() string { return strconv.FormatBool(*v.field) }

// choice is one word of a closed list: what is stored, and the other spellings that are taken for it.
type choice struct {
	word string
	also []string
}

func words(list ...string) []choice {
	choices := make([]choice, 0, len(list))
	for _, word := range list {
		choices = append(choices, choice{word: word})
	}
	return choices
}

// choiceValue is one of a closed list of words.
type choiceValue[T ~string] struct {
	field   *T
	choices []choice
	// optional lets the field be empty, which then means a default that depends on other fields.
	optional bool
}

func (v choiceValue[T]) fromText(text string) error {
	text = strings.TrimSpace(text)
	for _, c := range v.choices {
		if strings.EqualFold(text, c.word) || slices.ContainsFunc(c.also, func(also string) bool { return strings.EqualFold(text, also) }) {
			*v.field = T(c.word)
			return nil
		}
	}
	return fmt.Errorf("must be %s, not %q%s", v.allowed(), text, suggest(text, v.list()))
}

func (v choiceValue[T]) fromNode(node ast.Node) error {
	text, ok := textOf(node)
	if !ok {
		return fmt.Errorf("must be %s, not %s", v.allowed(), describe(node))
	}
	return v.fromText(text)
}

func (v choiceValue[T]) check() error {
	if v.optional && *v.field == "" {
		return nil
	}
	if !slices.Contains(v.list(), string(*v.field)) {
		return fmt.Errorf("must be %s, not %q", v.allowed(), string(*v.field))
	}
	return nil
}

func (v choiceValue[T]) String() string { return string(*v.field) }

func (v choiceValue[T]) list() []string {
	list := make([]string, 0, len(v.choices))
	for _, c := range v.choices {
		list = append(list, c.word)
	}
	return list
}

func (v choiceValue[T]) allowed() string { return orList(v.list()) }

// orList writes "a, b or c".
func orList(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

// listValue is a list of texts that a flag writes with commas and a file as a list or with commas too.
type listValue[T any] struct {
	field *[]T
	parse func(string) (T, error)
	print func(T) string
	// rule may be nil. It judges the list as a whole.
	rule    func([]T) error
	example string
}

func (v listValue[T]) fromText(text string) error {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return v.fromParts(parts)
}

func (v listValue[T]) fromParts(parts []string) error {
	var list []T
	for _, part := range parts {
		entry, err := v.parse(part)
		if err != nil {
			return err
		}
		list = append(list, entry)
	}
	*v.field = list
	return nil
}

func (v listValue[T]) fromNode(node ast.Node) error {
	if text, ok := textOf(node); ok {
		return v.fromText(text)
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		return fmt.Errorf("must be a list such as [%q], not %s", v.example, describe(node))
	}
	parts := make([]string, 0, len(sequence.Values))
	for i, entry := range sequence.Values {
		text, ok := textOf(entry)
		if !ok {
			return fmt.Errorf("must be a list of texts such as [%q], but entry %d is %s", v.example, i+1, describe(entry))
		}
		parts = append(parts, strings.TrimSpace(text))
	}
	return v.fromParts(parts)
}

// check reads every entry again, so that a list made in Go is held to the same rules as one that was written down.
func (v listValue[T]) check() error {
	for _, entry := range *v.field {
		if _, err := v.parse(v.print(entry)); err != nil {
			return err
		}
	}
	if v.rule == nil {
		return nil
	}
	return v.rule(*v.field)
}

func (v listValue[T]) String() string {
	list := make([]string, 0, len(*v.field))
	for _, entry := range *v.field {
		list = append(list, v.print(entry))
	}
	return strings.Join(list, ",")
}
