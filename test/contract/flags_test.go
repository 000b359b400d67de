package contract

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the tables of docs/configuration.md say of single settings, where no other test has met it.
func TestFlags(t *testing.T) {
	t.Parallel()
	f := shared(t)

	holds(t, "with commas, or the flag several times; an empty variable clears the list | a YAML list, or text with commas", func(t *testing.T) {
		const one, two = "https://one.example.com", "https://two.example.com"
		allows := func(g *gateway, origin string) bool {
			return handshake(t, g, "/ws?user_id=x", "Origin", origin).status == 101
		}
		for what, g := range map[string]*gateway{
			"commas":            startGateway(t, "", "--auth=trusted", "--allowed-origins="+one+","+two),
			"several flags":     startGateway(t, "", "--auth=trusted", "--allowed-origins="+one, "--allowed-origins="+two),
			"a YAML list":       startGateway(t, "allowedOrigins: ["+one+", "+two+"]", "--auth=trusted"),
			"text in the file":  startGateway(t, "allowedOrigins: \""+one+","+two+"\"", "--auth=trusted"),
			"a flag over these": startGateway(t, "allowedOrigins: [https://three.example.com]", "--auth=trusted", "--allowed-origins="+one+","+two),
		} {
			if !allows(g, one) || !allows(g, two) || allows(g, "https://three.example.com") {
				t.Errorf("written with %s the list is another", what)
			}
		}
		if g := startGateway(t, "allowedOrigins: ["+one+"]", "--auth=trusted", "WSC_ALLOWED_ORIGINS="); allows(g, one) || !allows(g, "http://"+g.public) {
			t.Error("an empty variable does not clear the list")
		}
	})

	holds(t, "/ws, and the demo chat page at / with --demo. … Serve the demo chat page at / of the public port. … with --demo the chat page at /", func(t *testing.T) {
		got := ask(t, "GET", "http://"+startGateway(t, "", "--demo").public+"/", "")
		if got.status != 200 || !strings.Contains(got.body, "<html") {
			t.Errorf("/ is %d %.100s", got.status, got.body)
		}
	})

	holds(t, "The bearer keys of the server API, one a line, so that keys can be rotated: add the new one, move the callers, remove the old one. Blank lines and lines that start with # do not count.", func(t *testing.T) {
		g := startGateway(t, "", "--api-listen=127.0.0.1:0", "--api-key-file="+file(t, "keys", "# callers\n\n"+apiKey+"\n\n#"+otherKey+"\n"))
		for key, want := range map[string]int{apiKey: 200, otherKey: 401, "#" + otherKey: 401, "# callers": 401, "": 401} {
			if got := ask(t, "POST", "http://"+g.api+"/v1/rooms/r/messages", `{"data":1}`, "Authorization", "Bearer "+key); got.status != want {
				t.Errorf("the key %q gets %d, want %d", key, got.status, want)
			}
		}
	})

	holds(t, "The password of Redis; better than a password in the URL, which shows in process lists. … user, password, port and database may be left out", func(t *testing.T) {
		r := startRedis(t)
		password := secret("the-password-of-redis-in-the-contract")
		r.must(t, "CONFIG", "SET", "requirepass", password)
		for _, flags := range [][]string{
			{"--backplane=" + r.url(), "--redis-password-file=" + file(t, "password", password+"\n")},
			{"--backplane=redis://default:" + password + "@" + r.addr + "/3"},
		} {
			c := dial(t, startGateway(t, "", append(flags, "--auth=trusted")...), "user")
			c.join("r")
			c.publish("r")
		}
	})

	holds(t, "The prefix of every Redis key and channel. Gateways with the same name and the same Redis are one cluster. … Every key and channel begins with the name of --cluster; two clusters on one Redis need two names, because Pub/Sub does not know database numbers. Ids in them are percent-encoded, and all keys of a room have one hash tag, so that they are on one shard of a Redis Cluster.", func(t *testing.T) {
		r := startRedis(t)
		flags := []string{"--auth=trusted", "--backplane=" + r.url()}
		one, same, other := startGateway(t, fleetConfig, append(flags, "--cluster=red")...), startGateway(t, fleetConfig, append(flags, "--cluster=red")...), startGateway(t, fleetConfig, append(flags, "--cluster=blue")...)
		a, b, c := dial(t, one, "a"), dial(t, same, "b"), dial(t, other, "c")
		const room = "log-{x}*:é"
		for _, each := range []*client{a, b, c} {
			each.join(room)
		}
		data, _ := a.publish(room)
		a.message(data)
		b.message(data)
		c.nothing()
		tags := map[string]bool{}
		for key := range strings.FieldsSeq(r.must(t, "KEYS", "*")) {
			if !strings.HasPrefix(key, "red") && !strings.HasPrefix(key, "blue") {
				t.Errorf("the key %s does not begin with a cluster's name", key)
			}
			if strings.Contains(key, "log-") {
				_, tag, _ := strings.Cut(key, "{")
				tag, _, _ = strings.Cut(tag, "}")
				tags[tag] = true
				if !strings.Contains(tag, "log-%7Bx%7D%2A%3A%C3%A9") {
					t.Errorf("the key %s does not hold the room's id percent-encoded in its hash tag", key)
				}
			}
		}
		if len(tags) != 1 {
			t.Errorf("the room's keys have the hash tags %v, want one", tags)
		}
		for channel := range strings.FieldsSeq(r.must(t, "PUBSUB", "CHANNELS")) {
			if !strings.HasPrefix(channel, "red") && !strings.HasPrefix(channel, "blue") {
				t.Errorf("the channel %s does not begin with a cluster's name", channel)
			}
		}
	})

	holds(t, "This process's name in welcome frames, logs and presence. … one gateway alone, without Redis", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--backplane=memory://", "--node=the-name")
		c := dial(t, g, "user")
		c.join("r")
		c.publish("r")
		if c.welcome["node"] != "the-name" || !strings.Contains(g.log.String(), `"node":"the-name"`) {
			t.Errorf("the welcome is %v", c.welcome)
		}
	})

	holds(t, "guest: every connection gets a random user id. trusted: ?user_id= is believed; only behind something that has checked it, or for trying things out. jwt: a token says who it is. In the file also Guest, TrustedUserID, JWT.", func(t *testing.T) {
		for _, word := range []string{"trusted", "TrustedUserID"} {
			for _, config := range []string{"auth: " + word, "auth: {type: " + word + "}"} {
				if got := dial(t, startGateway(t, config), "alice").user; got != "alice" {
					t.Errorf("%s makes the user id %s", config, got)
				}
			}
		}
		for _, word := range []string{"guest", "Guest"} {
			if got := dial(t, startGateway(t, "auth: "+word), "alice").user; got == "alice" {
				t.Errorf("%s believes the user id", word)
			}
		}
		for _, word := range []string{"jwt", "JWT"} {
			config := fmt.Sprintf("auth: {type: %s, jwt: {secretFile: %s}}", word, file(t, "secret", jwtSecret))
			if got := withToken(t, startGateway(t, config), jwtOf(t, claims{"sub": "bob"})).user; got != "bob" {
				t.Errorf("%s makes the user id %s", config, got)
			}
		}
	})

	holds(t, "The shared secret of tokens signed with HS256, HS384 or HS512. One line break at the end of the file is not part of it. … Either this or a secret file.", func(t *testing.T) {
		for content, want := range map[string]int{jwtSecret: 101, jwtSecret + "\n": 101, jwtSecret + "\r\n": 101, jwtSecret + "\n\n": 401} {
			g := startGateway(t, "", "--auth=jwt", "--jwt-secret-file="+file(t, "secret", content))
			if got := handshake(t, g, "/ws?token="+jwtOf(t, claims{"sub": "bob"})); got.status != want {
				t.Errorf("with %d line breaks the token gets %d, want %d", strings.Count(content, "\n"), got.status, want)
			}
		}
		wantWrong(t, nil, []string{"--auth=jwt", "--jwt-secret-file=" + file(t, "secret", jwtSecret), "--jwks-url=https://example.com/jwks"}, "jwks-url", "jwt-secret-file")
	})

	holds(t, "The origins that browsers' pages may connect from, such as https://app.example.com, or https://*.example.com for every subdomain, or * for any. A list replaces the default: write your own origin too if pages of it connect.", func(t *testing.T) {
		g := startGateway(t, "", "--auth=trusted", "--allowed-origins=https://*.example.com")
		for origin, want := range map[string]int{"https://app.example.com": 101, "https://example.com": 403, "http://" + g.public: 403} {
			if got := handshake(t, g, "/ws?user_id=x", "Origin", origin); got.status != want {
				t.Errorf("a page of %s gets %d, want %d", origin, got.status, want)
			}
		}
	})

	holds(t, "Connection attempts that this process looks at, good or bad. A second's worth, and at least 10, may come at once. Over it: HTTP 503 overloaded. … Those of one client address, on this process; an IPv6 address stands for its /64. At least 10 may come at once. Over it: HTTP 429 rate_limited.", func(t *testing.T) {
		for flag, refused := range map[string]int{"--connects-per-second=1": 503, "--connects-per-second-per-address=1": 429} {
			g := startGateway(t, "", "--auth=trusted", flag)
			begin, taken := time.Now(), 0
			for range 40 {
				switch got := handshake(t, g, "/ws?user_id="); got.status {
				case 400:
					taken++
				case refused:
				default:
					t.Fatalf("with %s an attempt got %v", flag, got)
				}
			}
			if most := 11 + int(time.Since(begin).Seconds()); taken < 10 || taken > most {
				t.Errorf("with %s of 40 attempts %d were looked at, want 10 to %d", flag, taken, most)
			}
		}
		g := startGateway(t, "", "--auth=trusted", "--connects-per-second-per-address=1", "--trusted-proxies=127.0.0.0/8")
		limited := 0
		for i := range 40 {
			if handshake(t, g, "/ws?user_id=", "X-Forwarded-For", fmt.Sprintf("2001:db8:1:2::%d", i)).status == 429 {
				limited++
			}
		}
		if limited == 0 {
			t.Error("40 addresses of one /64 are not limited together")
		}
	})

	holds(t, "A gateway is one static binary without any Kubernetes library.", func(t *testing.T) {
		if out, err := exec.Command("go", "version", "-m", gatewayBinary).CombinedOutput(); err != nil || strings.Contains(string(out), "k8s.io/") {
			t.Errorf("the binary is made of %s (%v)", out, err)
		}
	})

	holds(t, "It keeps nothing on disk. Its exit status is 0 after a drain", func(t *testing.T) {
		dir := t.TempDir()
		cmd := command("--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-delay=0")
		cmd.Dir = dir
		log := &buffer{}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is up", func() bool { return strings.Contains(log.String(), "gateway is up") })
		if err := cmd.Process.Signal(interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after a drain: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
	})

	holds(t, "bytes that wait for slow clients … clients closed with 4408 … 1 while the link to Redis is up; links that were made anew … reads of a log because messages may have been missed; those that the log had forgotten … 1 while it drains faster than its rate … 1 while /readyz succeeds", func(t *testing.T) {
		help := ask(t, "GET", "http://"+f.a.ops+"/metrics", "").body
		for metric, kind := range map[string]string{"send_queue_bytes": "gauge", "slow_consumers_total": "counter", "backplane_up": "gauge", "backplane_reconnects_total": "counter",
			"gap_repairs_total": "counter", "messages_lost_total": "counter", "drain_hurried": "gauge", "ready": "gauge", "publish_duration_seconds": "histogram", "delivery_lag_seconds": "histogram"} {
			if !strings.Contains(help, "# HELP wscluster_"+metric+" ") || !strings.Contains(help, "# TYPE wscluster_"+metric+" "+kind+"\n") {
				t.Errorf("wscluster_%s is no %s with a help text", metric, kind)
			}
		}
		r := startRedis(t)
		g := startGateway(t, "", "--auth=trusted", "--backplane="+r.url())
		r.kill()
		eventually(t, "the link is down", func() bool { return g.metric(t, "wscluster_backplane_up") == 0 && g.metric(t, "wscluster_ready") == 1 })
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the link is up again, and counted", func() bool {
			return g.metric(t, "wscluster_backplane_up") == 1 && g.metric(t, "wscluster_backplane_reconnects_total") >= 1
		})
	})
}
