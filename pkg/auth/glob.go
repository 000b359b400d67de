package auth

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern over whole room ids: * is any run of characters, ? is one character. Everything else stands for itself;
// there is no escape. The forms that policies nearly always have are told apart once, so that a check is a comparison.
type glob struct {
	pattern string
	kind    globKind
}

type globKind uint8

const (
	globGeneral globKind = iota
	// globAny is "*".
	globAny
	// globExact has no special character.
	globExact
	// globPrefix ends in its only special character, a star.
	globPrefix
)

func compileGlob(pattern string) glob {
	special := strings.IndexAny(pattern, "*?")
	switch {
	case pattern == "*":
		return glob{pattern, globAny}
	case special < 0:
		return glob{pattern, globExact}
	case special == len(pattern)-1 && pattern[special] == '*':
		return glob{pattern, globPrefix}
	}
	return glob{pattern, globGeneral}
}

func (g *glob) match(text string) bool {
	switch g.kind {
	case globAny:
		return true
	case globExact:
		return text == g.pattern
	case globPrefix:
		return strings.HasPrefix(text, g.pattern[:len(g.pattern)-1])
	}
	return matchGlob(g.pattern, text)
}

// matchGlob walks both strings once and goes back only to the last star: every earlier star has matched as little as it could,
// and giving it more cannot help. The time is at most the product of the lengths, and nothing is allocated.
func matchGlob(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(text[t:])
			t += size
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(text[resume:])
			resume += size
			p, t = star+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
