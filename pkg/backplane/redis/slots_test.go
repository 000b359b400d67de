package redis

import "testing"

func TestSlotsAreThoseOfRedis(t *testing.T) {
	for _, c := range []struct {
		name string
		want uint16
	}{
		// As CLUSTER KEYSLOT of Redis 7.0 answers.
		{"", 0},
		{"123456789", 12739},
		{"foo", 12182},
		{"{foo}bar", 12182},
		{"bar{foo}{baz}", 12182},
		{"test:{r:general}:ch", 7393},
		{"a{}b", 13694},
		{"a{b", 13340},
	} {
		if got := slotOf([]byte(c.name)); got != c.want {
			t.Errorf("%q is in slot %d, want %d", c.name, got, c.want)
		}
	}
}
