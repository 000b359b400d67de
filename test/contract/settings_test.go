package contract

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantWrong runs the gateway with wrong settings, with and without --check: one line on standard error with the words, and status 2.
func wantWrong(t *testing.T, environ, args []string, words ...string) {
	t.Helper()
	for _, extra := range [][]string{nil, {"--check"}} {
		stdout, stderr, status := gatewayOnce(t, environ, append(append([]string{"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}, args...), extra...)...)
		if status != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
			t.Errorf("%v %v ends with status %d, %q and %q, want 2 and one line", environ, args, status, stdout, stderr)
		}
		for _, word := range words {
			if !strings.Contains(stderr, word) {
				t.Errorf("%v %v: the line %q does not say %s", environ, args, stderr, word)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()

	holds(t, "The gateway takes its settings from four places. The first one that says something wins: … a flag, such as --drain-rate=100 … its environment variable: WSC_, the flag in upper case, - as _, such as WSC_DRAIN_RATE=100 … the settings file that --config (or WSC_CONFIG) names … the default", func(t *testing.T) {
		const config = "node: from-file\nheartbeatSeconds: 7\nlimits: {maxMessageBytes: 1111}\ndrain: {delaySeconds: 0, timeoutSeconds: 1}\nauth: trusted\n"
		for _, test := range []struct {
			flags []string
			want  string
		}{
			{nil, "from-file 7000 1111"},
			{[]string{"WSC_NODE=from-environment", "WSC_MAX_MESSAGE_BYTES=2222"}, "from-environment 7000 2222"},
			{[]string{"WSC_NODE=from-environment", "WSC_HEARTBEAT=8s", "--node=from-flag"}, "from-flag 8000 1111"},
		} {
			w := dial(t, startGateway(t, config, test.flags...), "user").welcome
			if got := fmt.Sprint(w["node"], " ", w["heartbeat_ms"], " ", w["max_message_bytes"]); got != test.want {
				t.Errorf("with %v: %s, want %s", test.flags, got, test.want)
			}
		}
		named := file(t, "named.yaml", "heartbeatSeconds: 5\nlisten: nonsense\n")
		if _, stderr, status := gatewayOnce(t, []string{"WSC_CONFIG=" + named}, "--check"); status != 2 || !strings.Contains(stderr, "named.yaml:2") {
			t.Errorf("the file that WSC_CONFIG names was not read: %d %q", status, stderr)
		}
	})

	holds(t, "A wrong value, an unknown flag, key or variable, or a file that cannot be read stops the start: one line that says where and what is allowed, and exit status 2. … and 2 if a setting is wrong.", func(t *testing.T) {
		config := func(text string) []string { return []string{"--config=" + file(t, "gateway.yaml", text)} }
		wantWrong(t, nil, []string{"--auth=nobody"}, "--auth", "guest", "trusted", "jwt")
		wantWrong(t, nil, []string{"--max-connections=0"}, "--max-connections", "1")
		wantWrong(t, nil, []string{"--max-connections=many"}, "--max-connections")
		wantWrong(t, nil, []string{"--heartbeat=soon"}, "--heartbeat")
		wantWrong(t, nil, []string{"--heartbeat=0s"}, "--heartbeat")
		wantWrong(t, nil, []string{"--backplane=kafka://x"}, "--backplane", "redis://")
		wantWrong(t, nil, []string{"--log-level=loud"}, "--log-level", "debug", "info", "warn", "error")
		wantWrong(t, nil, []string{"--allowed-origins=example.com"}, "--allowed-origins", "https://")
		wantWrong(t, nil, []string{"--trusted-proxies=10.0.0.1/99"}, "--trusted-proxies")
		wantWrong(t, nil, []string{"--listen=8080"}, "--listen", ":8080")
		wantWrong(t, nil, []string{"--cluster=a{b}"}, "--cluster")
		wantWrong(t, nil, []string{"--unknown=1"}, "--unknown")
		wantWrong(t, nil, []string{"--max-conections=1"}, "--max-conections", "--max-connections")
		wantWrong(t, nil, []string{"--demo", "yes"}, "yes")
		wantWrong(t, []string{"WSC_AUTH=nobody"}, nil, "WSC_AUTH", "guest")
		wantWrong(t, []string{"WSC_UNKNOWN=1"}, nil, "WSC_UNKNOWN")
		wantWrong(t, nil, config("heartbeetSeconds: 5\n"), "gateway.yaml:1", "heartbeetSeconds", "heartbeatSeconds")
		wantWrong(t, nil, config("auth:\n  type: nobody\n"), "gateway.yaml:2", "auth.type", "guest")
		wantWrong(t, nil, config("rooms:\n- match: a\n  join: members\n"), "gateway.yaml:3", "join", "anyone")
		wantWrong(t, nil, config("rooms:\n- match: a\n  colour: red\n"), "gateway.yaml:3", "colour")
		wantWrong(t, nil, config("limits: {maxMessageBytes: 5}\n"), "gateway.yaml:1", "maxMessageBytes", "128")
		wantWrong(t, nil, config("limits: [\n"), "gateway.yaml")
		wantWrong(t, nil, []string{"--config=/does/not/exist.yaml"}, "/does/not/exist.yaml")
		wantWrong(t, nil, []string{"--api-key-file=/does/not/exist"}, "/does/not/exist")
		wantWrong(t, nil, []string{"--api-key-file=" + file(t, "keys", "\n# none\n")}, "api-key-file")
		wantWrong(t, nil, []string{"--tls-cert-file=" + file(t, "tls.crt", "x")}, "tls-key-file")
		wantWrong(t, nil, []string{"--auth=jwt"}, "jwt-secret-file", "jwks-url")
	})

	holds(t, "--check validates in the same way, opens every file that is named, and exits with status 0 if all is well. --version prints the version, --help all flags.", func(t *testing.T) {
		good := file(t, "gateway.yaml", "heartbeatSeconds: 5\nrooms: [{match: \"chat:*\", publish: anyone}]\n")
		if stdout, stderr, status := gatewayOnce(t, nil, "--config="+good, "--check"); status != 0 || stderr != "" || stdout == "" {
			t.Errorf("--check of good settings: status %d, %q, %q", status, stdout, stderr)
		}
		if stdout, _, status := gatewayOnce(t, nil, "--version"); status != 0 || !strings.HasPrefix(stdout, "wscluster gateway ") {
			t.Errorf("--version: status %d, %q", status, stdout)
		}
		stdout, _, status := gatewayOnce(t, nil, "--help")
		if status != 0 {
			t.Errorf("--help: status %d", status)
		}
		for flag := range strings.FieldsSeq(allFlags) {
			if !strings.Contains(stdout, flag+" ") {
				t.Errorf("--help does not list %s", flag)
			}
		}
	})

	holds(t, "durations | 25s, 1m30s, 500ms; a bare number is seconds | whole seconds, in keys that end in Seconds", func(t *testing.T) {
		for value, want := range map[string]int64{"25s": 25_000, "1m30s": 90_000, "500ms": 500, "7": 7000} {
			if got := dial(t, startGateway(t, "", "--auth=trusted", "--heartbeat="+value), "x").welcome.number("heartbeat_ms"); got != want {
				t.Errorf("--heartbeat=%s makes %d ms, want %d", value, got, want)
			}
		}
	})

	holds(t, "switches | --demo, --demo=false | true or false, Enabled or Disabled", func(t *testing.T) {
		for _, test := range []struct {
			config string
			flags  []string
			want   int
		}{{"", nil, 404}, {"", []string{"--demo"}, 200}, {"", []string{"--demo=false"}, 404}, {"demo: true", nil, 200}, {"demo: Enabled", nil, 200}, {"demo: Disabled", nil, 404}, {"demo: true", []string{"--demo=false"}, 404}} {
			g := startGateway(t, test.config, append([]string{"--auth=trusted"}, test.flags...)...)
			if got := ask(t, "GET", "http://"+g.public+"/", ""); got.status != test.want {
				t.Errorf("%q with %v: / is %d, want %d", test.config, test.flags, got.status, test.want)
			}
		}
	})

	holds(t, "The server API. It is on when there is an --api-key-file. Setting the address without one is an error; empty is off.", func(t *testing.T) {
		wantWrong(t, nil, []string{"--api-listen=127.0.0.1:0"}, "api-listen", "api-key-file")
		if g := startGateway(t, "", "--api-listen=", "--api-key-file="+file(t, "keys", apiKey)); g.api != "" {
			t.Errorf("with an empty address the server API listens on %s", g.api)
		}
	})

	holds(t, "1 if it could not start or serve (a port that is taken)", func(t *testing.T) {
		taken := shared(t).a.public
		_, stderr, status := gatewayOnce(t, nil, "--listen="+taken, "--ops-listen=127.0.0.1:0")
		if status != 1 || !strings.Contains(stderr, taken) {
			t.Errorf("with a port that is taken: status %d, %q", status, stderr)
		}
	})

	holds(t, "Networks such as 10.0.0.0/8 whose X-Forwarded-For is believed, for logs and for limits per address.", func(t *testing.T) {
		for proxies, want := range map[string]bool{"127.0.0.0/8": false, "10.0.0.0/8": true} {
			g := startGateway(t, "", "--auth=trusted", "--connects-per-second-per-address=1", "--trusted-proxies="+proxies, "--log-level=debug")
			dialWith(t, "ws://"+g.public+"/ws?user_id=logged", http.Header{"X-Forwarded-For": {"198.51.100.1, 203.0.113.200"}})
			address := "127.0.0.1"
			if !want {
				address = "203.0.113.200"
			}
			eventually(t, "the log says which address has connected", func() bool {
				return strings.Contains(g.log.String(), `"user_id":"logged","address":"`+address+`"`)
			})
			limited := false
			for i := range 60 { // another address each time, if it is believed
				got := handshake(t, g, "/ws?user_id=", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
				limited = limited || got.status == 429
			}
			if limited != want {
				t.Errorf("with proxies in %s the limit for an address is reached: %v, want %v", proxies, limited, want)
			}
		}
	})

	holds(t, "With --log-level=debug each client that connects or is refused is a line with its address.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--log-level=debug")
		dial(t, g, "alice")
		wantRefusal(t, handshake(t, g, "/ws?user_id="), 400, "bad_request")
		eventually(t, "the log has both", func() bool {
			log := g.log.String()
			return strings.Contains(log, `"user_id":"alice","address":"127.0.0.1"`) && strings.Contains(log, `"msg":"refused","result":"bad_request","address":"127.0.0.1"`)
		})
	})
}

// allFlags is every flag that the contract names.
const allFlags = `--config --listen --api-listen --api-key-file --ops-listen --ops-token-file --backplane --redis-password-file --redis-ca-file --redis-cert-file --redis-key-file
	--cluster --node --auth --jwt-secret-file --jwks-url --jwt-issuer --jwt-audience --jwt-user-claim --jwt-rooms-claim --allowed-origins --trusted-proxies
	--tls-cert-file --tls-key-file --heartbeat --drain-delay --drain-timeout --drain-rate --max-connections --max-connections-per-user --max-rooms-per-connection
	--max-message-bytes --send-queue-bytes --messages-per-second --message-burst --log-level --log-format --demo --compression --check`

func TestChangesWhileItRuns(t *testing.T) {
	t.Parallel()

	holds(t, "Within a second these take effect, for connections that are already there too: … rooms, directMessages, inbox … everything in limits … allowedOrigins", func(t *testing.T) {
		g := startGateway(t, "limits: {maxRoomsPerConnection: 1}", "--auth=trusted")
		c := dial(t, g, "user")
		c.join("r")
		c.refused("room_limit", `{"type":"join","room_id":"s"}`)
		wantRefusal(t, handshake(t, g, "/ws?user_id=x", "Origin", "https://app.example.com"), 403, "origin_denied")
		g.rewrite(t, "limits: {maxRoomsPerConnection: 5, maxMessageBytes: 5000}\nallowedOrigins: [\"https://app.example.com\"]\ninbox: {size: 10}\n"+
			"directMessages: {publish: none}\nrooms: [{match: \"news\", publish: none}, {match: \"log\", history: {size: 10}}]\n")
		eventually(t, "the limit of rooms is another", func() bool { return c.do(`{"type":"join","room_id":"s"}`)["type"] == "ack" })
		c.join("news")
		c.refused("forbidden", `{"type":"publish","room_id":"news","data":1}`)
		c.refused("forbidden", `{"type":"publish","target_user_id":"x","data":1}`)
		if ack := c.acked(`{"type":"join","room_id":"log"}`); ack["epoch"] == nil {
			t.Errorf("the room keeps no history: %v", ack)
		}
		ws := dialWith(t, "ws://"+g.public+"/ws?user_id=y", http.Header{"Origin": {"https://app.example.com"}})
		if ws.welcome["inbox"] == nil || ws.welcome.number("max_message_bytes") != 5000 {
			t.Errorf("the welcome is %v, want an inbox and another limit", ws.welcome)
		}
		g.rewrite(t, "rooms: [{match: \"news\", publish: anyone}]\n")
		eventually(t, "the policy is another again", func() bool { return c.do(`{"type":"publish","room_id":"news","data":1}`)["type"] == "ack" })
	})

	holds(t, "what is in the files: API keys, the ops token, the secret of tokens, certificates, the password of Redis (at the next connection to it)", func(t *testing.T) {
		keys, secretFile := file(t, "keys", apiKey+"\n"), file(t, "secret", jwtSecret)
		g := startGateway(t, "", "--auth=jwt", "--jwt-secret-file="+secretFile, "--api-listen=127.0.0.1:0", "--api-key-file="+keys)
		address, changed := "http://"+g.api+"/v1/rooms/r/messages", secret("a-changed-key-of-the-contract")
		old := withToken(t, g, jwtOf(t, claims{"sub": "alice"}))
		status := func(key string) int {
			return ask(t, "POST", address, `{"data":1}`, "Authorization", "Bearer "+key).status
		}
		for content, want := range map[string][2]int{apiKey + "\n" + changed + "\n": {200, 200}} { // the new one is added …
			replaceFile(t, keys, "# rotated\n\n"+content)
			eventually(t, "the new key is taken", func() bool { return status(changed) == want[1] })
			if got := status(apiKey); got != want[0] {
				t.Errorf("the old key gets %d", got)
			}
		}
		replaceFile(t, keys, changed+"\n") // … and the old one removed
		eventually(t, "the old key is refused", func() bool { return status(apiKey) == 401 })
		another := secret("another-secret-for-tokens-of-32-bytes-or-so")
		replaceFile(t, secretFile, another)
		eventually(t, "tokens of the old secret are refused", func() bool {
			return handshake(t, g, "/ws?token="+jwtOf(t, claims{"sub": "bob"})).status == 401
		})
		withToken(t, g, signed(t, hs256, []byte(another), "", claims{"sub": "bob"}))
		old.nothing()
	})

	holds(t, "Everything else, also the name of a file, needs a restart; a log line says which keys. If the new content is wrong, nothing changes and one log line says why. Flags and variables still win over the file.", func(t *testing.T) {
		g := startGateway(t, "limits: {maxRoomsPerConnection: 1}", "--auth=trusted", "--max-message-bytes=4000")
		g.rewrite(t, "node: another\nheartbeatSeconds: 3\nlimits: {maxRoomsPerConnection: 1, maxMessageBytes: 9000}\n")
		eventually(t, "the log names what needs a restart", func() bool {
			return strings.Contains(g.log.String(), `"settings":["node","heartbeatSeconds"]`)
		})
		c := dial(t, g, "user")
		if c.welcome.number("max_message_bytes") != 4000 || c.welcome["node"] == "another" || c.welcome.number("heartbeat_ms") != 25_000 {
			t.Errorf("the welcome is %v", c.welcome)
		}
		g.rewrite(t, "limits: {maxRoomsPerConnection: many}\n")
		eventually(t, "the log says what is wrong", func() bool { return strings.Contains(g.log.String(), "maxRoomsPerConnection: must be") })
		c.join("r")
		c.refused("room_limit", `{"type":"join","room_id":"s"}`)
	})

	holds(t, "The gateway watches the settings file and every file with keys, secrets and certificates. It notices files that are written in place or replaced, and ConfigMaps and Secrets that Kubernetes updates.", func(t *testing.T) {
		dir := t.TempDir()
		for version, rooms := range map[string]string{"..1": "1", "..2": "2"} { // as a mounted ConfigMap: links that are swapped
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, version, "gateway.yaml"), []byte("limits: {maxRoomsPerConnection: "+rooms+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := func(target, name string) {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		link("..1", "..data")
		link("..data/gateway.yaml", "gateway.yaml")
		g := startGateway(t, "", "--auth=trusted", "--config="+filepath.Join(dir, "gateway.yaml"))
		c := dial(t, g, "user")
		c.join("r")
		c.refused("room_limit", `{"type":"join","room_id":"s"}`)
		link("..2", "..new")
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the swapped ConfigMap is in force", func() bool { return c.do(`{"type":"join","room_id":"s"}`)["type"] == "ack" })
		c.refused("room_limit", `{"type":"join","room_id":"t"}`)
		inPlace := filepath.Join(dir, "..2", "gateway.yaml")
		if err := os.WriteFile(inPlace, []byte("limits: {maxRoomsPerConnection: 3}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the file that was written in place is in force", func() bool { return c.do(`{"type":"join","room_id":"t"}`)["type"] == "ack" })
	})
}
