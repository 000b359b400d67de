package contract

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pages are the contract: the protocol, the process, and the tables of the settings. What docs/configuration.md says beside its
// tables may be quoted, but need not be.
var pages = []string{"../../docs/protocol.md", "../../docs/gateway.md", settingsPage}

const settingsPage = "../../docs/configuration.md"

// omission stands in a quote for words that are left out, as in any quote.
const omission = " … "

// holds runs a test, beside all others, of what the quoted line of the pages promises. The quote is a literal, so that
// TestEveryLineHasATestThatNamesIt finds it: the page's words without its markup, with " … " for words left out.
func holds(t *testing.T, quote string, test func(t *testing.T)) {
	t.Helper()
	t.Run(quote, func(t *testing.T) {
		t.Parallel()
		test(t)
	})
}

// line is a part of a page that promises something by itself: a sentence, or a cell of a table.
type line struct {
	page   string
	number int
	// block and from, to: where it is in the text of its paragraph or row.
	block    *block
	from, to int
}

// block is a paragraph, an item of a list or the row of a table, as plain text.
type block struct {
	text   string
	row    bool   // of a table
	quoted []bool // by byte
}

func TestEveryLineHasATestThatNamesIt(t *testing.T) {
	t.Parallel()
	var blocks []*block
	var lines []line
	for _, page := range pages {
		b, l := readPage(t, page)
		blocks, lines = append(blocks, b...), append(lines, l...)
	}
	for _, quote := range append(quotesOfTests(t), quotesOfOthers(t)...) {
		for part := range strings.SplitSeq(plain(quote.text), omission) {
			if !mark(blocks, part) {
				t.Errorf("%s quotes %q, which no page says (any more)", quote.where, part)
			}
		}
	}
	for _, l := range lines {
		if !l.block.row && strings.HasSuffix(settingsPage, l.page) {
			continue
		}
		if rest := unquoted(l); rest != "" {
			t.Errorf("%s:%d: no test quotes %q", l.page, l.number, rest)
		}
	}
}

// mark notes that a test quotes text, wherever it stands.
func mark(blocks []*block, text string) (found bool) {
	for _, b := range blocks {
		for from := 0; ; {
			at := strings.Index(b.text[from:], text)
			if at < 0 {
				break
			}
			found = true
			for i := from + at; i < from+at+len(text); i++ {
				b.quoted[i] = true
			}
			from += at + len(text)
		}
	}
	return found
}

// fewWords need no quote of their own: a cell that only names a field or says "yes", a word between two quotes.
const fewWords = 3

var word = regexp.MustCompile(`[\pL\pN_./:\-]*[\pL\pN][\pL\pN_./:\-]*`)

// unquoted returns the longest run of words of a line that nobody quotes, or nothing if it is a few words only.
func unquoted(l line) string {
	text := l.block.text[l.from:l.to]
	longest, words, start, end := "", 0, -1, 0
	flush := func() {
		if start >= 0 && words > fewWords && end-start > len(longest) {
			longest = text[start:end]
		}
		words, start = 0, -1
	}
	for _, at := range word.FindAllStringIndex(text, -1) {
		if slices.Contains(l.block.quoted[l.from+at[0]:l.from+at[1]], true) {
			flush()
			continue
		}
		if start < 0 {
			start = at[0]
		}
		words, end = words+1, at[1]
	}
	flush()
	return longest
}

var (
	markup     = strings.NewReplacer("**", "", "`", "", "<br>", " ", "<sup>", "^", "</sup>", "", `\|`, "|")
	link       = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	spaces     = regexp.MustCompile(`\s+`)
	listItem   = regexp.MustCompile(`^\s*([-*]|\d+\.) `)
	tableRule  = regexp.MustCompile(`^\|[ :|-]+\|$`)
	emphasis   = regexp.MustCompile(`(^|\s)\*(\pL[^*]*)\*`)
	lineEnding = regexp.MustCompile(`[.:;?!] | \| `)
)

// plain takes the markup out of a text.
func plain(text string) string {
	text = markup.Replace(link.ReplaceAllString(text, "$1"))
	return strings.TrimSpace(spaces.ReplaceAllString(emphasis.ReplaceAllString(text, "$1$2"), " "))
}

// readPage takes a page apart. Headings, examples and the heads of tables promise nothing by themselves.
func readPage(t *testing.T, path string) (blocks []*block, lines []line) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(path, "../../")
	var paragraph []string
	begin := 0
	row := false
	flush := func() {
		if text := plain(strings.Join(paragraph, " ")); text != "" {
			b := &block{text: text, row: row, quoted: make([]bool, len(text))}
			blocks = append(blocks, b)
			from := 0
			for _, end := range append(lineEnding.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
				lines = append(lines, line{name, begin, b, from, end[0]})
				from = end[1]
			}
		}
		paragraph = nil
	}
	example, all := false, strings.Split(string(page), "\n")
	for i, text := range all {
		switch {
		case strings.HasPrefix(strings.TrimSpace(text), "```"):
			flush()
			example = !example
		case example:
		case text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "<!--"):
			flush()
		case tableRule.MatchString(text), i+1 < len(all) && tableRule.MatchString(all[i+1]):
			flush()
		case strings.HasPrefix(text, "|"):
			flush()
			paragraph, begin, row = []string{strings.Trim(text, "|")}, i+1, true
			flush()
			row = false
		default:
			if listItem.MatchString(text) {
				flush()
			}
			if len(paragraph) == 0 {
				begin = i + 1
			}
			paragraph = append(paragraph, listItem.ReplaceAllString(text, ""))
		}
	}
	flush()
	return blocks, lines
}

// quote is what a test quotes, and where.
type quote struct{ text, where string }

// quotesOfTests reads the tests of this package: the second argument of holds, and the field quote of tables.
func quotesOfTests(t *testing.T) (quotes []quote) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, file := range files {
		tree, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			var literal ast.Expr
			switch n := n.(type) {
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); !ok || name.Name != "holds" || len(n.Args) != 3 {
					return true
				}
				literal = n.Args[1]
				if selector, ok := literal.(*ast.SelectorExpr); ok && selector.Sel.Name == "quote" {
					return true // of a table
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); !ok || key.Name != "quote" {
					return true
				}
				literal = n.Value
			default:
				return true
			}
			where := set.Position(n.Pos()).String()
			text, err := literalText(literal)
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
			quotes = append(quotes, quote{text, "test/contract/" + where})
			return true
		})
	}
	return quotes
}

func literalText(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := literalText(e.X)
		if err != nil {
			return "", err
		}
		right, err := literalText(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("the quote must be a literal, so that it can be compared with the pages")
}

// quotesOfOthers reads testdata/elsewhere: what the pages say and no test here can keep. A line that starts with "# " gives the
// reason for those below it; one that reads "# PACKAGE TestName" names the test that keeps them instead, which must exist.
func quotesOfOthers(t *testing.T) (quotes []quote) {
	t.Helper()
	const file = "testdata/elsewhere"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reason := ""
	for i, row := range strings.Split(string(text), "\n") {
		where := fmt.Sprintf("test/contract/%s:%d", file, i+1)
		if heading, ok := strings.CutPrefix(row, "# "); ok {
			reason = heading
			if folder, test, found := strings.Cut(heading, " Test"); found && !hasTest(t, folder, "Test"+test) {
				t.Errorf("%s: there is no Test%s in %s", where, test, folder)
			}
			continue
		}
		if row == "" {
			continue
		}
		if reason == "" {
			t.Errorf("%s: give the reason above it", where)
		}
		quotes = append(quotes, quote{row, where})
	}
	return quotes
}

func hasTest(t *testing.T, folder, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "func "+test+"(") {
			return true
		}
	}
	return false
}
