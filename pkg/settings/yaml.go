package settings

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFileBytes bounds a settings file: a ConfigMap holds 1 MiB at most, and whatever is longer is a wrong file.
const maxFileBytes = 1 << 20

// yamlFile is a parsed file whose nodes still know their lines.
type yamlFile struct {
	name    string
	root    *ast.MappingNode // nil for an empty file
	anchors map[string]ast.Node
}

// parseYAML reads one document. Its errors are one line that starts with the file's name and the line number.
func parseYAML(name string, data []byte) (*yamlFile, error) {
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s: is over 1 MiB; this is not a settings file of the gateway", name)
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return &yamlFile{name: name}, nil
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	file := &yamlFile{name: name, anchors: map[string]ast.Node{}}
	var body ast.Node
	for _, document := range parsed.Docs {
		if document.Body == nil {
			continue
		}
		if body != nil {
			return nil, fmt.Errorf("%s: holds more than one YAML document; keep one, without a line of ---", file.at(document.Body))
		}
		body = document.Body
	}
	if body == nil {
		return file, nil
	}
	ast.Walk(anchorCollector(file.anchors), body)
	switch body := file.follow(body).(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
	case *ast.MappingNode:
		file.root = body
	default:
		return nil, fmt.Errorf("%s: must hold keys and values such as \"listen: ':8080'\", not %s", file.at(body), describe(body))
	}
	return file, nil
}

func syntaxError(name string, err error) error {
	if located, ok := errors.AsType[yaml.Error](err); ok {
		message, _, _ := strings.Cut(located.GetMessage(), "\n")
		if token := located.GetToken(); token != nil && token.Position != nil {
			return fmt.Errorf("%s:%d: is not valid YAML: %s", name, token.Position.Line, message)
		}
		return fmt.Errorf("%s: is not valid YAML: %s", name, message)
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s: is not valid YAML: %s", name, message)
}

type anchorCollector map[string]ast.Node

// Visit implements ast.Visitor.
func (c anchorCollector) Visit(node ast.Node) ast.Visitor {
	if anchor, ok := node.(*ast.AnchorNode); ok && anchor.Name != nil {
		c[anchor.Name.GetToken().Value] = anchor.Value
	}
	return c
}

// follow takes anchors and aliases off a node. It returns nil for an alias without an anchor or one that leads to itself.
func (f *yamlFile) follow(node ast.Node) ast.Node {
	for range 100 {
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			if n.Value == nil {
				return nil
			}
			node = f.anchors[n.Value.GetToken().Value]
		default:
			return node
		}
	}
	return nil
}

// at returns "file:line".
func (f *yamlFile) at(node ast.Node) string {
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return f.name
	}
	return fmt.Sprintf("%s:%d", f.name, node.GetToken().Position.Line)
}

// entry is one key of a mapping.
type entry struct {
	key string
	// where is file:line.
	where string
	value ast.Node
}

// entries lists the keys of a mapping that are not null: a key with nothing after it counts as not written.
func (f *yamlFile) entries(mapping *ast.MappingNode) ([]entry, error) {
	if mapping == nil {
		return nil, nil
	}
	list := make([]entry, 0, len(mapping.Values))
	for _, pair := range mapping.Values {
		where := f.at(pair.Key)
		if pair.Key.IsMergeKey() {
			return nil, fmt.Errorf("%s: <<: merging keys is not supported; write them out", where)
		}
		name, ok := pair.Key.(*ast.StringNode)
		if !ok {
			return nil, fmt.Errorf("%s: %s: a key must be a plain name", where, oneLine(pair.Key.String()))
		}
		value := f.follow(pair.Value)
		if value == nil {
			return nil, fmt.Errorf("%s: %s: refers to an anchor that does not exist in this file", where, oneLine(name.Value))
		}
		if _, null := value.(*ast.NullNode); null {
			continue
		}
		if sequence, ok := value.(*ast.SequenceNode); ok {
			for i, element := range sequence.Values {
				if sequence.Values[i] = f.follow(element); sequence.Values[i] == nil {
					return nil, fmt.Errorf("%s: %s: refers to an anchor that does not exist in this file", where, oneLine(name.Value))
				}
			}
		}
		list = append(list, entry{key: name.Value, where: where, value: value})
	}
	return list, nil
}

// oneLine keeps what came from a file from breaking an error's line.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return strings.Trim(fmt.Sprintf("%q", text), `"`)
}

func textOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), true
	}
	return "", false
}

func numberOf(node ast.Node) (int, bool) {
	integer, ok := node.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch n := integer.Value.(type) {
	case int64:
		return int(n), true
	case uint64:
		if n <= math.MaxInt64 {
			return int(n), true
		}
	}
	return 0, false
}

// describe says what a node is, in words for an error.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return fmt.Sprintf("%v", n.Value)
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a group of keys"
	case *ast.NullNode:
		return "nothing"
	case *ast.TagNode:
		return "a value with the tag " + oneLine(n.GetToken().Value)
	}
	return "something else"
}
