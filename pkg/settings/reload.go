package settings

import (
	"reflect"
)

// Reload is what a change of the watched files came to.
type Reload struct {
	// Settings hold from now on: what can change while running is as the files say, everything else is as at the start.
	// After an error they are what they were before.
	Settings Settings
	// Changed are the keys that took effect, such as limits.maxConnections or rooms.
	Changed []string
	// Files are the keys whose files have other content now, such as apiKeyFile or tlsCertFile; who uses them reads them again.
	Files []string
	// NeedsRestart are the keys that were changed but take effect at the next start only.
	NeedsRestart []string
	// Err says in one line why the new content was not taken; then nothing changed.
	Err error
}

// empty says that there is nothing to tell anybody.
func (r *Reload) empty() bool {
	return r.Err == nil && len(r.Changed)+len(r.Files)+len(r.NeedsRestart) == 0
}

// takeReloadable sets what may change while running to what other says. It is the one list of these settings; a test compares it with
// the options that are marked as reloaded.
func takeReloadable(s *Settings, other Settings) {
	s.AllowedOrigins = other.AllowedOrigins
	s.Limits = other.Limits
	s.Rooms = other.Rooms
	s.DirectMessages = other.DirectMessages
	s.Inbox = other.Inbox
}

// WithoutReloadable returns the settings with defaults in place of all that a gateway takes over from its changed file while it
// runs. Two settings that differ without it need a restart; two that do not, need none.
func (s Settings) WithoutReloadable() Settings {
	takeReloadable(&s, Default())
	return s
}

// reload lays what may change while running over the settings in force. The loaded settings are compared with those loaded before them,
// so that a key that needs a restart is told once and not at every change of another one.
func reload(running, before, loaded Settings) Reload {
	r := Reload{Settings: running}
	for _, o := range options {
		switch {
		case o.bind(&loaded).String() == o.bind(&before).String():
		case o.reloads:
			r.Changed = append(r.Changed, o.path)
		default:
			r.NeedsRestart = append(r.NeedsRestart, o.path)
		}
	}
	takeReloadable(&r.Settings, loaded)
	for _, part := range []struct {
		key      string
		old, new any
	}{
		{"rooms", before.Rooms, loaded.Rooms},
		{"directMessages", before.DirectMessages, loaded.DirectMessages},
		{"inbox", before.Inbox, loaded.Inbox},
	} {
		if !reflect.DeepEqual(part.old, part.new) {
			r.Changed = append(r.Changed, part.key)
		}
	}
	return r
}
