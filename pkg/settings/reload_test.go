package settings

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The options say which of them take effect while a gateway runs, and takeReloadable has them take it: these have to agree.
func TestWithoutReloadableForgetsWhatTakesEffectWhileRunningAndNothingElse(t *testing.T) {
	standard := Default()
	changed := everything()
	fixed := changed.WithoutReloadable()
	for _, o := range options {
		want := o.bind(&changed).String()
		if o.reloads {
			want = o.bind(&standard).String()
		}
		if got := o.bind(&fixed).String(); got != want {
			t.Errorf("without what is reloaded %s is %q, want %q", o.path, got, want)
		}
	}
	if fixed.Rooms != nil || fixed.Inbox != nil || fixed.DirectMessages != standard.DirectMessages {
		t.Errorf("rooms, inbox and direct messages take effect while running, and are left: %v", fixed)
	}
	if diff := cmp.Diff(everything(), changed, sameSettings); diff != "" {
		t.Errorf("the settings themselves were changed:\n%s", diff)
	}
}
