package auth

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/wscluster/wscluster/pkg/settings"
)

func TestAGlobCoversTheWholeRoomID(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"a", "anything at all", "日本"}, nil},
		{"chat:*", []string{"chat:", "chat:1", "chat:a:b"}, []string{"chat", "xchat:1", "Chat:1"}},
		{"lobby", []string{"lobby"}, []string{"lobby1", "lobb", "Lobby"}},
		{"*:private", []string{"a:private", ":private", "a:private:private"}, []string{"a:private:x", "private"}},
		{"a*b*c", []string{"abc", "aXbYc", "abbbc", "abcbc"}, []string{"ab", "acb", "abcd"}},
		{"**", []string{"a", ""}, nil},
		{"room?", []string{"room1", "roomé", "room日"}, []string{"room", "room12"}},
		{"?", []string{"a", "🙂"}, []string{"", "ab"}},
		{"*?", []string{"a", "ab", "🙂"}, []string{""}},
		{"*é?", []string{"xéy", "éé"}, []string{"é"}},
		{"[a-z]{x}\\*", []string{"[a-z]{x}\\", "[a-z]{x}\\y"}, []string{"b", "[a-z]{x}*"}},
		{"a?*?c", []string{"abbc", "axyzc"}, []string{"abc", "ac"}},
	} {
		compiled := compileGlob(test.pattern)
		for _, room := range test.yes {
			if !compiled.match(room) || !matchGlob(test.pattern, room) {
				t.Errorf("%q should match %q", test.pattern, room)
			}
		}
		for _, room := range test.no {
			if compiled.match(room) || matchGlob(test.pattern, room) {
				t.Errorf("%q should not match %q", test.pattern, room)
			}
		}
	}
}

// FuzzGlob compares with the same pattern written as a regular expression.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"chat:*", "chat:1"}, {"*a*b?", "xaybz"}, {"?*?", "ab"}, {"*ab*ab", "abababab"}, {"é*?", "éa"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, room string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(room) || len(pattern) > 256 || len(room) > 256 {
			t.Skip("the protocol has no such ids")
		}
		expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile(`(?s)^` + expression + `$`).MatchString(room)
		compiled := compileGlob(pattern)
		if got := compiled.match(room); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, room, got, want)
		}
		if got := matchGlob(pattern, room); got != want {
			t.Errorf("%q matches %q without compiling: got %v, want %v", pattern, room, got, want)
		}
	})
}

var (
	guest    = &Identity{UserID: "guest-a"}
	verified = &Identity{UserID: "alice", Verified: true}
	granted  = &Identity{UserID: "bob", Verified: true, Rooms: []string{"other", "room-*"}}
	// claimed has rooms without a verified token, which must count for nothing.
	claimed = &Identity{UserID: "eve", Rooms: []string{"*"}}
)

// expect checks a decision: an empty code means that it is allowed.
func expect(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *Error
	switch {
	case code == "" && err != nil:
		t.Errorf("is refused: %v", err)
	case code != "" && !errors.As(err, &refusal):
		t.Errorf("is allowed, want %s", code)
	case code != "" && (refusal.Code != code || refusal.Status != http.StatusForbidden):
		t.Errorf("got %d %s, want %s", refusal.Status, refusal.Code, code)
	}
}

func TestWhoMayJoin(t *testing.T) {
	for name, test := range map[string]struct {
		join     settings.Access
		identity *Identity
		want     string
	}{
		"anyone lets a guest":                                  {settings.AccessAnyone, guest, ""},
		"authenticated lets a verified token":                  {settings.AccessAuthenticated, verified, ""},
		"authenticated refuses a guest":                        {settings.AccessAuthenticated, guest, CodeForbidden},
		"token lets a token that grants the room":              {settings.AccessToken, granted, ""},
		"token refuses a token that grants no room":            {settings.AccessToken, verified, CodeForbidden},
		"token refuses rooms that nobody verified":             {settings.AccessToken, claimed, CodeForbidden},
		"none refuses everybody":                               {settings.AccessNone, granted, CodeForbidden},
		"a word from a later version refuses, to be safe":      {settings.Access("friends"), granted, CodeForbidden},
		"a policy made without a word refuses, to be safe too": {"", granted, CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicies(settings.Settings{Rooms: []settings.RoomPolicy{{Match: "room-*", Join: test.join, Publish: settings.AccessNone}}})
			expect(t, p.CanJoin(test.identity, "room-1"), test.want)
		})
	}
}

func TestWhoMayPublish(t *testing.T) {
	for name, test := range map[string]struct {
		publish  settings.Access
		identity *Identity
		member   bool
		want     string
	}{
		"anyone lets a guest who has not joined":    {settings.AccessAnyone, guest, false, ""},
		"authenticated lets a verified token":       {settings.AccessAuthenticated, verified, false, ""},
		"authenticated refuses a guest in the room": {settings.AccessAuthenticated, guest, true, CodeForbidden},
		"members lets who has joined":               {settings.AccessMembers, guest, true, ""},
		"members asks others to join first":         {settings.AccessMembers, verified, false, CodeNotJoined},
		"token lets a token that grants the room":   {settings.AccessToken, granted, false, ""},
		"token refuses a token without the room":    {settings.AccessToken, verified, true, CodeForbidden},
		"token refuses rooms that nobody verified":  {settings.AccessToken, claimed, true, CodeForbidden},
		"server refuses every client":               {settings.AccessServer, granted, true, CodeForbidden},
		"none refuses every client":                 {settings.AccessNone, granted, true, CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicies(settings.Settings{Rooms: []settings.RoomPolicy{{Match: "room-*", Join: settings.AccessAnyone, Publish: test.publish}}})
			expect(t, p.CanPublish(test.identity, "room-1", test.member), test.want)
		})
	}
}

func TestWhoMayMessageAUser(t *testing.T) {
	for name, test := range map[string]struct {
		auth     settings.AuthType
		direct   settings.Access
		identity *Identity
		want     string
	}{
		"said nothing, guests may where all are guests":     {settings.AuthGuest, "", guest, ""},
		"said nothing, anyone may where ids are believed":   {settings.AuthTrusted, "", guest, ""},
		"said nothing, only tokens count where tokens are":  {settings.AuthJWT, "", guest, CodeForbidden},
		"said nothing, a token may where tokens are":        {settings.AuthJWT, "", verified, ""},
		"anyone lets a guest":                               {settings.AuthJWT, settings.AccessAnyone, guest, ""},
		"authenticated refuses where nobody can be":         {settings.AuthGuest, settings.AccessAuthenticated, guest, CodeForbidden},
		"server refuses every client":                       {settings.AuthJWT, settings.AccessServer, verified, CodeForbidden},
		"none refuses every client":                         {settings.AuthJWT, settings.AccessNone, verified, CodeForbidden},
		"a word that is for rooms only refuses, to be safe": {settings.AuthJWT, settings.AccessMembers, verified, CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicies(settings.Settings{Auth: settings.Auth{Type: test.auth}, DirectMessages: settings.DirectMessages{Publish: test.direct}})
			expect(t, p.CanMessageUser(test.identity), test.want)
		})
	}
}

func TestTheFirstPolicyThatMatchesHolds(t *testing.T) {
	p := NewPolicies(settings.Settings{Rooms: []settings.RoomPolicy{
		{Match: "chat:secret", Join: settings.AccessNone, Publish: settings.AccessNone},
		{Match: "chat:*", Join: settings.AccessAnyone, Publish: settings.AccessServer, Presence: true},
		{Match: "chat:late", Join: settings.AccessNone, Publish: settings.AccessNone},
	}})
	expect(t, p.CanJoin(guest, "chat:secret"), CodeForbidden)
	expect(t, p.CanJoin(guest, "chat:late"), "")
	expect(t, p.CanPublish(guest, "chat:late", true), CodeForbidden)
	if !p.Policy("chat:x").Presence || p.Policy("elsewhere").Presence {
		t.Error("presence should be that of the policy that matches")
	}
	expect(t, p.CanJoin(guest, "elsewhere"), "")
	expect(t, p.CanPublish(guest, "elsewhere", true), "")
	expect(t, p.CanPublish(guest, "elsewhere", false), CodeNotJoined)
}

func TestPoliciesAreReplacedWhileTheyAreUsed(t *testing.T) {
	open := settings.Settings{Rooms: []settings.RoomPolicy{{Match: "*", Join: settings.AccessAnyone, Publish: settings.AccessAnyone}}}
	closed := settings.Settings{Rooms: []settings.RoomPolicy{{Match: "*", Join: settings.AccessNone, Publish: settings.AccessNone}}}
	p := NewPolicies(open)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					policy := p.Policy("room")
					if (policy.Join == settings.AccessAnyone) != (policy.Publish == settings.AccessAnyone) {
						t.Error("a check saw half of the old policies and half of the new ones")
						return
					}
				}
			}
		})
	}
	for range 2000 {
		p.Replace(closed)
		p.Replace(open)
	}
	close(stop)
	wait.Wait()
	p.Replace(closed)
	expect(t, p.CanJoin(guest, "room"), CodeForbidden)

	open.Rooms[0].Join = settings.AccessNone
	p.Replace(open)
	open.Rooms[0].Join = settings.AccessAnyone
	expect(t, p.CanJoin(guest, "room"), CodeForbidden) // the caller's slice is the caller's
}

// manyPolicies has every form of glob, and the one that is hit last.
func manyPolicies() *Policies {
	return NewPolicies(settings.Settings{Rooms: []settings.RoomPolicy{
		{Match: "exact", Join: settings.AccessNone, Publish: settings.AccessNone},
		{Match: "prefix:*", Join: settings.AccessNone, Publish: settings.AccessNone},
		{Match: "*:suffix", Join: settings.AccessNone, Publish: settings.AccessNone},
		{Match: "r??m:*:*", Join: settings.AccessToken, Publish: settings.AccessToken},
	}})
}

func TestChecksAllocateNothing(t *testing.T) {
	p := manyPolicies()
	identity := &Identity{UserID: "alice", Verified: true, Rooms: []string{"room:*"}}
	refusedOnes := 0
	if allocations := testing.AllocsPerRun(1000, func() {
		if p.CanJoin(identity, "room:1:2") != nil || p.CanPublish(identity, "room:1:2", true) != nil || p.CanMessageUser(identity) != nil {
			refusedOnes++
		}
		if p.CanJoin(identity, "exact") == nil || p.Policy("room:1:2").History != nil {
			refusedOnes++
		}
	}); allocations != 0 {
		t.Errorf("checks allocate %.0f times, want 0", allocations)
	}
	if refusedOnes > 0 {
		t.Errorf("%d checks were decided wrongly", refusedOnes)
	}
}

func BenchmarkCanPublish(b *testing.B) {
	p := manyPolicies()
	identity := &Identity{UserID: "alice", Verified: true, Rooms: []string{"room:*"}}
	b.ReportAllocs()
	for b.Loop() {
		if p.CanPublish(identity, "room:12345:general", true) != nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCanPublishWithoutPolicies(b *testing.B) {
	p := NewPolicies(settings.Default())
	b.ReportAllocs()
	for b.Loop() {
		if p.CanPublish(guest, "room:12345:general", true) != nil {
			b.Fatal("refused")
		}
	}
}
