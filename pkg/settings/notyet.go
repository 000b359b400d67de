package settings

// NotYet lists the keys that are set but not built in this version: they are validated, and change nothing. The process
// logs each once. This is the only place that knows.
func NotYet(s Settings) []string {
	var keys []string
	add := func(set bool, key string) {
		if set {
			keys = append(keys, key)
		}
	}
	add(s.Limits.MaxConnectionsPerUser > 0, "limits.maxConnectionsPerUser")
	return keys
}
