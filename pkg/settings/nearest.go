package settings

import "strings"

// suggest returns `; did you mean "word"?` for the word of the list nearest to what was written, or "" when none is near.
func suggest(written string, list []string) string {
	best, distance := "", 4
	if len(written) > 64 {
		return ""
	}
	for _, word := range list {
		if d := editDistance(strings.ToLower(written), strings.ToLower(word)); d < distance && d <= (len(word)+1)/3 {
			best, distance = word, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the bytes to insert, delete, replace or swap with their neighbour to make b of a
// (optimal string alignment: swapped neighbours are the most common slip of a hand).
func editDistance(a, b string) int {
	before, last, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(last[j]+1, current[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, last, current = last, current, before
	}
	return last[len(b)]
}
