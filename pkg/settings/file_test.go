package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrongFilesAreAnsweredInOneLineThatNamesLineAndKey(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"a misspelt key":                     {"listen: ':1'\nmaxConections: 3\n", "f.yaml:2: maxConections: is not a known key; did you mean maxConnections?"},
		"an unknown key":                     {"frobnicate: 3\n", "f.yaml:1: frobnicate: is not a known key; docs/configuration.md lists all keys"},
		"a flag's name":                      {"max-connections: 3\n", "f.yaml:1: max-connections: is not a known key; did you mean maxConnections?"},
		"a variable's name":                  {"WSC_DRAIN_RATE: 3\n", "f.yaml:1: WSC_DRAIN_RATE: is not a known key; did you mean drainRate?"},
		"a duration without its suffix":      {"heartbeat: 25s\n", "f.yaml:1: heartbeat: is not a known key; did you mean heartbeatSeconds?"},
		"a duration as text":                 {"heartbeatSeconds: 25s\n", `f.yaml:1: heartbeatSeconds: must be whole seconds from 1 to 3600 written as a number, not the text "25s"`},
		"half a second":                      {"drain:\n  delaySeconds: 0.5\n", "f.yaml:2: drain.delaySeconds: must be whole seconds from 0 to 3600 written as a number, not the number 0.5"},
		"a misspelt key in a group":          {"limits:\n  maxRoomPerConnection: 3\n", "f.yaml:2: limits.maxRoomPerConnection: is not a known key; did you mean maxRoomsPerConnection?"},
		"an unknown key in a group":          {"drain: {linger: 3}\n", "f.yaml:1: drain.linger: is not a known key; allowed are delaySeconds, timeoutSeconds, reconnectsPerSecond"},
		"the flat key inside of its group":   {"drain: {drainRate: 3}\n", "f.yaml:1: drain.drainRate: is not a known key; allowed are delaySeconds, timeoutSeconds, reconnectsPerSecond"},
		"a figure in quotes":                 {"maxConnections: '3'\n", `f.yaml:1: maxConnections: must be a whole number from 1 to 10000000, not the text "3"`},
		"a figure out of bounds":             {"limits: {maxConnections: -3}\n", "f.yaml:1: limits.maxConnections: must be from 1 to 10000000, not -3"},
		"a figure beyond all bounds":         {"maxConnections: 99999999999999999999\n", `f.yaml:1: maxConnections: must be a whole number from 1 to 10000000, not the text "99999999999999999999"`},
		"seconds beyond all bounds":          {"heartbeatSeconds: 9223372036854775807\n", "f.yaml:1: heartbeatSeconds: must be whole seconds from 1 to 3600 written as a number, not the number 9223372036854775807"},
		"a number for text":                  {"listen: 8080\n", `f.yaml:1: listen: must be text such as ":8080", not the number 8080`},
		"both forms of one key":              {"drainRate: 1\nmaxConnections: 4\ndrain:\n  reconnectsPerSecond: 2\n", "f.yaml:4: drain.reconnectsPerSecond: is already given as drainRate (f.yaml:1); keep one of the two"},
		"both forms of identity":             {"auth: jwt\njwksURL: https://a\njwksUrl: https://b\n", "f.yaml:3: jwksUrl: is already given as jwksURL (f.yaml:2); keep one of the two"},
		"the same key twice":                 {"drainRate: 1\ndrainRate: 2\n", `f.yaml:2: is not valid YAML: mapping key "drainRate" already defined at [1:1]`},
		"an unknown kind of identity":        {"auth: {type: OAuth}\n", `f.yaml:1: auth.type: must be guest, trusted or jwt, not "OAuth"`},
		"a list for identity":                {"auth: [jwt]\n", "f.yaml:1: auth: must be guest, trusted or jwt, not a list"},
		"a Secret's reference":               {"auth: {type: JWT, jwt: {secretRef: {name: a}}}\n", "f.yaml:1: auth.jwt.secretRef: is not a known key; allowed are secretFile, jwksURL, issuer, audience, userClaim, roomsClaim"},
		"tokens without a key":               {"auth: {type: JWT}\n", "f.yaml:1: auth.type: jwt needs a key to verify tokens with: set auth.jwt.jwksURL, or auth.jwt.secretFile"},
		"a number for a group":               {"limits: 3\n", "f.yaml:1: limits: must be a group of keys such as {maxConnections, maxConnectionsPerUser, maxRoomsPerConnection, maxMessageBytes, sendQueueBytes, messagesPerSecond, messageBurst, connectsPerSecond, connectsPerSecondPerAddress}, not the number 3"},
		"rooms as a group":                   {"rooms: {match: a}\n", `f.yaml:1: rooms: must be a list such as [{match: "chat:*", join: anyone}], not a group of keys`},
		"a room as text":                     {"rooms:\n- chat\n", `f.yaml:2: rooms[0]: must be a policy such as {match: "chat:*", join: anyone}, not the text "chat"`},
		"a room without its glob":            {"rooms:\n- {match: a}\n- join: none\n", `f.yaml:3: rooms[1].match: must be a glob over room ids such as "chat:*" (* is any run of characters, ? is one)`},
		"a room with an unknown key":         {"rooms:\n- match: a\n  historie: {}\n", "f.yaml:3: rooms[0].historie: is not a known key; did you mean history?"},
		"a word that joining does not know":  {"rooms:\n- match: a\n  join: members\n", `f.yaml:3: rooms[0].join: must be anyone, authenticated, token or none, not "members"`},
		"presence neither on nor off":        {"rooms:\n- match: a\n  presence: maybe\n", `f.yaml:3: rooms[0].presence: must be true or false (or Enabled or Disabled), not "maybe"`},
		"a history of nothing":               {"rooms:\n- match: a\n  history:\n    size: 0\n", "f.yaml:4: rooms[0].history.size: must be from 1 to 1000000, not 0"},
		"a history that is a switch":         {"rooms:\n- match: a\n  history: Enabled\n", `f.yaml:3: rooms[0].history: must be a group of keys (minReplicas, size, ttlSeconds), not the text "Enabled"`},
		"a glob that is longer than any id":  {"rooms:\n- match: " + strings.Repeat("a", 257) + "\n", "f.yaml:2: rooms[0].match: must be at most 256 characters, not 257"},
		"a glob with a control character":    {"rooms:\n- match: \"a\\tb\"\n", "f.yaml:2: rooms[0].match: must not hold control characters such as line breaks or tabs"},
		"an unknown key of the inbox":        {"inbox: {keep: 1}\n", "f.yaml:1: inbox.keep: is not a known key; allowed are maxBytes, size, ttlSeconds"},
		"direct messages to members":         {"directMessages: {publish: members}\n", `f.yaml:1: directMessages.publish: must be anyone, authenticated, server or none, not "members"`},
		"a list of lists":                    {"allowedOrigins: [[a]]\n", `f.yaml:1: allowedOrigins: must be a list of texts such as ["https://app.example.com"], but entry 1 is a list`},
		"a bad network in a list":            {"trustedProxies:\n- 10.0.0.0/8\n- 10.0.0.0/99\n", `f.yaml:1: trustedProxies: must be networks such as 10.0.0.0/8 or fd00::/8, or single addresses, not "10.0.0.0/99"`},
		"a whole WebSocketCluster":           {"apiVersion: wscluster.dev/v1alpha1\nkind: WebSocketCluster\n", "f.yaml:1: apiVersion: is not a key of this file: this looks like a WebSocketCluster; run that with `wsc run -f` or `kubectl apply -f`, the gateway takes its own settings file"},
		"spec.gateway copied":                {"gateway: {heartbeatSeconds: 3}\n", "f.yaml:1: gateway: is not a key of this file: write the keys of spec.gateway at the top level"},
		"a file that names a file":           {"config: other.yaml\n", "f.yaml:1: config: is not a key of this file: a file cannot name another one; it is only a flag"},
		"a list at the top":                  {"- a\n", "f.yaml:1: must hold keys and values such as \"listen: ':8080'\", not a list"},
		"text at the top":                    {"hello\n", "f.yaml:1: must hold keys and values such as \"listen: ':8080'\", not the text \"hello\""},
		"two documents":                      {"listen: ':1'\n---\nlisten: ':2'\n", "f.yaml:3: holds more than one YAML document; keep one, without a line of ---"},
		"a list that does not end":           {"listen: ':1'\nrooms: [\n", "f.yaml:2: is not valid YAML: sequence end token ']' not found"},
		"a tab for a space":                  {"drain:\n\tdelaySeconds: 1\n", "f.yaml:2: is not valid YAML: found character '\t' that cannot start any token"},
		"an alias without its anchor":        {"cluster: *name\n", "f.yaml:1: cluster: refers to an anchor that does not exist in this file"},
		"an anchor inside of itself":         {"rooms: &a [*a]\n", "f.yaml:1: rooms[0]: must be a policy such as {match: \"chat:*\", join: anyone}, not a list"},
		"merged keys":                        {"limits: &l {maxConnections: 3}\ndrain:\n  <<: *l\n", "f.yaml:3: <<: merging keys is not supported; write them out"},
		"a key that is a number":             {"1: a\n", "f.yaml:1: 1: a key must be a plain name"},
		"a server API without keys":          {"apiListen: ':1'\n", "f.yaml:1: apiListen: the server API needs keys: set apiKeyFile, or leave this out to keep the API off"},
		"a certificate without its key":      {"tlsCertFile: /x\n", "f.yaml:1: tlsCertFile: a certificate needs its private key: set tlsKeyFile too"},
		"a queue smaller than a message":     {"limits:\n  maxMessageBytes: 2000\n  sendQueueBytes: 1000\n", "f.yaml:3: limits.sendQueueBytes: is 1000, but one message may have 2000 bytes (limits.maxMessageBytes): the queue must hold at least one"},
		"a message larger than the queue is": {"maxMessageBytes: 2000000\n", "--send-queue-bytes: is 1048576, but one message may have 2000000 bytes (--max-message-bytes): the queue must hold at least one"},
		"more than a mebibyte":               {strings.Repeat("# comment\n", 110_000), "f.yaml: is over 1 MiB; this is not a settings file of the gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(test.file))
			if err == nil {
				t.Fatalf("was taken, want: %s", test.want)
			}
			if err.Error() != test.want {
				t.Errorf("\ngot  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestFormsThatAFileMayTake(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want func(*Settings)
	}{
		"nothing at all":                  {"", func(*Settings) {}},
		"a comment only":                  {"# nothing here\n", func(*Settings) {}},
		"null":                            {"null\n", func(*Settings) {}},
		"keys with nothing after them":    {"listen:\nlimits:\nrooms: ~\ninbox: null\n", func(*Settings) {}},
		"a port that begins with a colon": {"listen: :81\n", func(s *Settings) { s.Listen = ":81" }},
		"identity in one word":            {"auth: trusted\n", func(s *Settings) { s.Auth.Type = AuthTrusted }},
		"identity as in the resource":     {"auth: {type: TrustedUserID}\n", func(s *Settings) { s.Auth.Type = AuthTrusted }},
		"the resource's word alone":       {"auth: TrustedUserID\n", func(s *Settings) { s.Auth.Type = AuthTrusted }},
		"tokens in flat keys": {"auth: jwt\njwtSecretFile: /k\njwtAudience: a, b\n", func(s *Settings) {
			s.Auth.Type, s.Auth.JWT.SecretFile, s.Auth.JWT.Audience = AuthJWT, "/k", []string{"a", "b"}
		}},
		"tokens in both shapes": {"jwtIssuer: i\nauth: {type: JWT, jwt: {secretFile: /k, userClaim: email}}\n", func(s *Settings) {
			s.Auth = Auth{AuthJWT, JWT{SecretFile: "/k", Issuer: "i", UserClaim: "email", RoomsClaim: "rooms"}}
		}},
		"flat and grouped keys mixed":      {"drainDelaySeconds: 1\ndrain: {timeoutSeconds: 2}\ndrainRate: 3\n", func(s *Settings) { s.Drain = Drain{time.Second, 2 * time.Second, 3} }},
		"switches in the resource's words": {"compression: Enabled\ndemo: true\n", func(s *Settings) { s.Compression, s.Demo = true, true }},
		"a room with its glob only":        {"rooms: [{match: a}]\n", func(s *Settings) { s.Rooms = []RoomPolicy{{Match: "a", Join: AccessAnyone, Publish: AccessMembers}} }},
		"a history without figures": {"rooms: [{match: a, history: {}}]\n", func(s *Settings) {
			s.Rooms = []RoomPolicy{{Match: "a", History: &History{Size: 1000, TTL: 600 * time.Second}, Join: AccessAnyone, Publish: AccessMembers}}
		}},
		"an inbox without figures": {"inbox: {}\n", func(s *Settings) { s.Inbox = &Inbox{100, 86400 * time.Second, 262144} }},
		"an inbox with one figure": {"inbox: {size: 3}\n", func(s *Settings) { s.Inbox = &Inbox{3, 86400 * time.Second, 262144} }},
		"anchors and aliases": {"rooms:\n- match: a\n  history: &h {size: 7}\n- match: b\n  history: *h\n", func(s *Settings) {
			s.Rooms = []RoomPolicy{{"a", &History{7, 600 * time.Second, 0}, false, AccessAnyone, AccessMembers}, {"b", &History{7, 600 * time.Second, 0}, false, AccessAnyone, AccessMembers}}
		}},
		"JSON": {`{"listen": ":81", "rooms": [{"match": "a"}], "drain": {"delaySeconds": 0}}`, func(s *Settings) {
			s.Listen, s.Drain.Delay = ":81", 0
			s.Rooms = []RoomPolicy{{Match: "a", Join: AccessAnyone, Publish: AccessMembers}}
		}},
		"Windows line ends":                 {"listen: ':81'\r\ncluster: a\r\n", func(s *Settings) { s.Listen, s.Cluster = ":81", "a" }},
		"the server API turned off":         {"apiListen: ''\n", func(s *Settings) { s.APIListen = "" }},
		"a document that begins with ---":   {"---\ncluster: a\n", func(s *Settings) { s.Cluster = "a" }},
		"the user and database of Redis":    {"backplane: redis://user:p%40ss@[::1]:6379/3\n", func(s *Settings) { s.Backplane = "redis://user:p%40ss@[::1]:6379/3" }},
		"Redis without a port":              {"backplane: rediss://redis.example\n", func(s *Settings) { s.Backplane = "rediss://redis.example" }},
		"several Redis of a cluster":        {"backplane: 'rediss+cluster://a:1,b,c:3'\n", func(s *Settings) { s.Backplane = "rediss+cluster://a:1,b,c:3" }},
		"a rate that is off needs no burst": {"messagesPerSecond: 0\nmessageBurst: 0\n", func(s *Settings) { s.Limits.MessagesPerSecond, s.Limits.MessageBurst = 0, 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("f.yaml", []byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			test.want(&want)
			if diff := cmp.Diff(want, got, sameSettings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadReadsAFileAndNamesItWhenItCannot(t *testing.T) {
	s, err := Load(write(t, "gateway.yaml", "cluster: a\n"))
	if err != nil || s.Cluster != "a" || s.Node != "" {
		t.Errorf("got cluster %q, node %q, error %v", s.Cluster, s.Node, err)
	}
	if _, err = Load("/nowhere/gateway.yaml"); err == nil || err.Error() != "settings file: /nowhere/gateway.yaml does not exist" {
		t.Errorf("got %v", err)
	}
}

func TestSecretsAndKeysAreReadAsPeopleWriteThem(t *testing.T) {
	for name, test := range map[string]struct{ content, secret, problem string }{
		"with a line break at its end":  {"s3cret\n", "s3cret", ""},
		"without one":                   {"s3cret", "s3cret", ""},
		"with a Windows line break":     {"s3cret\r\n", "s3cret", ""},
		"only one line break is no key": {"s3cret\n\n", "s3cret\n", ""},
		"spaces are part of it":         {" s3cret ", " s3cret ", ""},
		"empty":                         {"\n", "", "is empty; it must hold the secret"},
	} {
		t.Run("a secret "+name, func(t *testing.T) {
			path := write(t, "secret", test.content)
			got, err := ReadSecret(path)
			if test.problem != "" {
				if err == nil || err.Error() != path+" "+test.problem {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || string(got) != test.secret {
				t.Errorf("got %q, %v; want %q", got, err, test.secret)
			}
		})
	}
	got, err := ReadKeys(write(t, "keys", "# rotated in November\n\n  key-one  \nkey-two\r\n\t\n#key-three\nkey-four"))
	if err != nil || !slices.Equal(got, []string{"key-one", "key-two", "key-four"}) {
		t.Errorf("got %q, %v", got, err)
	}
	for content, problem := range map[string]string{
		"":                 "holds no key; write one a line",
		"# none\n\n":       "holds no key; write one a line",
		"good\ntwo keys":   "has a key in line 2 that no HTTP header can carry: write one key a line, of ASCII letters, digits and signs without spaces",
		"schlüssel\n":      "has a key in line 1 that no HTTP header can carry: write one key a line, of ASCII letters, digits and signs without spaces",
		"a\x00b":           "has a key in line 1 that no HTTP header can carry: write one key a line, of ASCII letters, digits and signs without spaces",
		"one\n\nt\x7fwo\n": "has a key in line 3 that no HTTP header can carry: write one key a line, of ASCII letters, digits and signs without spaces",
	} {
		path := write(t, "keys", content)
		if _, err := ReadKeys(path); err == nil || err.Error() != path+" "+problem {
			t.Errorf("%q: got %v, want %s", content, err, problem)
		}
	}
	if os.Getuid() != 0 {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), "may not be read by this process") {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzParse holds that any file gives settings that can be written and read again, or one line. Seeds are in testdata/fuzz/FuzzParse.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := Parse("f.yaml", file)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\r\n") || text == "" {
				t.Errorf("the error is not one line: %q", text)
			}
			return
		}
		written, err := Marshal(s)
		if err != nil {
			t.Fatalf("settings that were read cannot be written: %v", err)
		}
		again, err := Parse("written.yaml", written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		if diff := cmp.Diff(s, again, sameSettings); diff != "" {
			t.Errorf("changed on their way through a file:\n%s\n%s", diff, written)
		}
	})
}
