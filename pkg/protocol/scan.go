package protocol

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// The scanner checks one JSON text (RFC 8259) in a single pass without allocating and tells where values begin and end.
// encoding/json would validate and then scan again, and allocate for every field; a command is decoded for every publish.
// FuzzDecode holds it to encoding/json's idea of what is valid.

// maxDepth bounds the nesting of arrays and objects in a frame. The open containers are kept as bits in a fixed array.
const maxDepth = 1024

var (
	errSyntax = errors.New("not valid JSON")
	errDeep   = errors.New("nested deeper than 1024 levels")
)

// skipSpace returns the index of the first byte at or after i that is not JSON white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// scanValue checks the value that starts at b[i] (no white space before it) and returns the index after it.
func scanValue(b []byte, i int) (int, error) {
	var open [maxDepth / 64]uint64 // bit set: an object, else an array
	depth := 0
	for {
		// A value starts at i.
		if i >= len(b) {
			return i, errSyntax
		}
		var err error
		switch c := b[i]; {
		case c == '"':
			i, err = scanString(b, i)
		case c == '{' || c == '[':
			if depth == maxDepth {
				return i, errDeep
			}
			bit := uint64(1) << (depth % 64)
			if c == '{' {
				open[depth/64] |= bit
			} else {
				open[depth/64] &^= bit
			}
			depth++
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // '{'+2 is '}', '['+2 is ']'
				depth--
				i++
				break
			}
			if c == '{' {
				if i, err = scanName(b, i); err != nil {
					return i, err
				}
			}
			continue
		case c == 't':
			i, err = scanWord(b, i, "true")
		case c == 'f':
			i, err = scanWord(b, i, "false")
		case c == 'n':
			i, err = scanWord(b, i, "null")
		default:
			i, err = scanNumber(b, i)
		}
		if err != nil {
			return i, err
		}
		// A value ended before i: close containers or go on to the next element.
		for {
			if depth == 0 {
				return i, nil
			}
			i = skipSpace(b, i)
			if i >= len(b) {
				return i, errSyntax
			}
			object := open[(depth-1)/64]&(1<<((depth-1)%64)) != 0
			if b[i] == ',' {
				i = skipSpace(b, i+1)
				if object {
					if i, err = scanName(b, i); err != nil {
						return i, err
					}
				}
				break
			}
			if object && b[i] != '}' || !object && b[i] != ']' {
				return i, errSyntax
			}
			depth--
			i++
		}
	}
}

// scanName checks `"name" :` with the white space around the colon and returns the index of the value.
func scanName(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, errSyntax
	}
	i, err := scanString(b, i)
	if err != nil {
		return i, err
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return i, errSyntax
	}
	return skipSpace(b, i+1), nil
}

// scanString checks the string whose opening quote is b[i] and returns the index after its closing quote.
func scanString(b []byte, i int) (int, error) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c < 0x20:
			return i, errSyntax
		case c == '\\':
			i++
			if i >= len(b) {
				return i, errSyntax
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(b, i+1); !ok {
					return i, errSyntax
				}
				i += 4
			default:
				return i, errSyntax
			}
		}
	}
	return i, errSyntax
}

func scanWord(b []byte, i int, word string) (int, error) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, errSyntax
	}
	return i + len(word), nil
}

func scanNumber(b []byte, i int) (int, error) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && b[i] >= '1' && b[i] <= '9':
		i = skipDigits(b, i)
	default:
		return i, errSyntax
	}
	if i < len(b) && b[i] == '.' {
		j := skipDigits(b, i+1)
		if j == i+1 {
			return i, errSyntax
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := skipDigits(b, i)
		if j == i {
			return i, errSyntax
		}
		i = j
	}
	return i, nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// hex4 reads the four hexadecimal digits at b[i].
func hex4(b []byte, i int) (rune, bool) {
	if len(b)-i < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unquote returns what the scanned string s (with its quotes) stands for: a part of s where nothing is escaped, else
// appended to *scratch. A lone surrogate becomes U+FFFD, as in encoding/json.
func unquote(s []byte, scratch *[]byte) []byte {
	s = s[1 : len(s)-1]
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	start := len(*scratch)
	dst := *scratch
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(s, i+1)
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					low, _ = hex4(s, i+3)
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default: // '"', '\\', '/'
			dst = append(dst, s[i])
		}
	}
	*scratch = dst
	return dst[start:len(dst):len(dst)]
}
