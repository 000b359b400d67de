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

// write puts a file into a folder of the test and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagWinsOverTheEnvironmentOverTheFileOverTheDefault(t *testing.T) {
	file := write(t, "gateway.yaml", "drainRate: 3\ndrain: {delaySeconds: 3, timeoutSeconds: 3}\n")
	got, _, err := FromCommandLine([]string{"--config", file, "--drain-rate=1"}, []string{"WSC_DRAIN_RATE=2", "WSC_DRAIN_DELAY=2s", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := Drain{Rate: 1, Delay: 2 * time.Second, Timeout: 3 * time.Second}
	if diff := cmp.Diff(want, got.Drain); diff != "" {
		t.Errorf("rate should be the flag's, delay the variable's, timeout the file's:\n%s", diff)
	}
	if got.Heartbeat != Default().Heartbeat {
		t.Errorf("heartbeat is %s, want the default", got.Heartbeat)
	}
	if host, _ := os.Hostname(); got.Node != host {
		t.Errorf("node is %q, want the host name %q", got.Node, host)
	}
}

// Each option is given in each of its forms with a value that differs from its default.
func TestEveryOptionIsReadFromItsFlagItsVariableAndItsKeys(t *testing.T) {
	all := everything()
	for _, o := range options {
		value := o.bind(&all).String()
		if o.path == "auth.jwt.secretFile" {
			value = "/keys/jwt"
		}
		t.Run(o.flag, func(t *testing.T) {
			line, err := readCommandLine([]string{"--" + o.flag + "=" + value}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(line.texts) != 1 || line.texts[0].option != o || line.texts[0].value != value {
				t.Errorf("--%s=%s was read as %+v", o.flag, value, line.texts)
			}
			line, err = readCommandLine(nil, []string{o.environment() + "=" + value})
			if err != nil {
				t.Fatal(err)
			}
			if len(line.texts) != 1 || line.texts[0].option != o || line.texts[0].value != value {
				t.Errorf("%s=%s was read as %+v", o.environment(), value, line.texts)
			}
			for _, key := range slices.Compact([]string{o.path, o.key, o.alias}) {
				if key == "" {
					continue
				}
				s := Default()
				if err := readFile("f.yaml", []byte(fileLine(key, o, value)), &s, map[string]string{}); err != nil {
					t.Fatal(err)
				}
				if got := o.bind(&s).String(); got != value {
					t.Errorf("%s in a file gave %q, want %q", key, got, value)
				}
			}
		})
	}
}

// fileLine writes one option as YAML, in flow style where its key is in groups.
func fileLine(key string, o *option, value string) string {
	s := Default()
	switch field := o.bind(&s).(type) {
	case durationValue:
		value = strings.TrimSuffix(value, "s")
	case numberValue, switchValue:
	case listValue[string]:
		value = "['" + strings.Join(strings.Split(value, ","), "','") + "']"
	default:
		_ = field
		value = "'" + value + "'"
	}
	parts := strings.Split(key, ".")
	return strings.Join(parts, ": {") + ": " + value + strings.Repeat("}", len(parts)-1)
}

func TestActions(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want Action
	}{
		"nothing said runs":                         {nil, Run},
		"check validates":                           {[]string{"--check"}, Check},
		"check=false runs":                          {[]string{"--check=false"}, Run},
		"help wins over wrong values":               {[]string{"--max-connections=0", "--help"}, Help},
		"the short help works too":                  {[]string{"-h"}, Help},
		"version wins over check and wrong values":  {[]string{"--check", "--max-connections=0", "--version"}, Version},
		"version wins wherever it stands":           {[]string{"--version", "--check"}, Version},
		"a switch may be turned on by its own name": {[]string{"--demo"}, Run},
	} {
		t.Run(name, func(t *testing.T) {
			_, action, err := FromCommandLine(test.args, nil)
			if err != nil || action != test.want {
				t.Errorf("got action %d, error %v; want action %d", action, err, test.want)
			}
		})
	}
}

func TestListsMayBeGivenInSeveralFlagsAndClearedByAnEmptyVariable(t *testing.T) {
	s, _, err := FromCommandLine([]string{"--allowed-origins=https://a.example", "--allowed-origins", "https://B.example:443, http://c.example:8080"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://a.example", "https://b.example", "http://c.example:8080"}, s.AllowedOrigins); diff != "" {
		t.Error(diff)
	}
	file := write(t, "gateway.yaml", "allowedOrigins: ['*']\n")
	s, _, err = FromCommandLine([]string{"--config=" + file}, []string{"WSC_ALLOWED_ORIGINS="})
	if err != nil || len(s.AllowedOrigins) != 0 {
		t.Errorf("got origins %v, error %v; an empty variable clears the file's list", s.AllowedOrigins, err)
	}
}

func TestWrongCommandLinesAreAnsweredInOneLineThatNamesTheCulprit(t *testing.T) {
	for name, test := range map[string]struct {
		args, environ []string
		want          string
	}{
		"a misspelt flag":                     {args: []string{"--max-conections=3"}, want: "--max-conections: is not a known flag; did you mean --max-connections?"},
		"an unknown flag":                     {args: []string{"--frobnicate"}, want: "--frobnicate: is not a known flag; gateway --help lists all"},
		"a single dash":                       {args: []string{"-listen", ":1"}, want: "-listen: flags start with two dashes: write --listen"},
		"a flag without its value":            {args: []string{"--max-connections"}, want: "--max-connections: needs a value: write --max-connections=NUMBER"},
		"a word after a switch":               {args: []string{"--demo", "true"}, want: `"true": is not a flag; values of switches need an equals sign, such as --demo=true`},
		"a word for a number":                 {args: []string{"--max-connections=many"}, want: `--max-connections: must be a whole number from 1 to 10000000, not "many"`},
		"a number out of bounds":              {args: []string{"--max-connections=0"}, want: "--max-connections: must be from 1 to 10000000, not 0"},
		"a word for a duration":               {args: []string{"--heartbeat=often"}, want: `--heartbeat: must be a duration from 100ms to 3600s such as 25s or 1m30s, not "often"`},
		"a negative duration in a variable":   {environ: []string{"WSC_DRAIN_DELAY=-1s"}, want: "WSC_DRAIN_DELAY: must be from 0s to 3600s, not -1s"},
		"a drain without time":                {args: []string{"--drain-timeout=0"}, want: "--drain-timeout: must be from 100ms to 86400s, not 0s"},
		"a misspelt variable":                 {environ: []string{"WSC_HEARBEAT=3s"}, want: "WSC_HEARBEAT: is not a known setting; did you mean WSC_HEARTBEAT?; variables that start with WSC_ are the gateway's"},
		"a variable like no other":            {environ: []string{"WSC_FOO=1"}, want: "WSC_FOO: is not a known setting; variables that start with WSC_ are the gateway's"},
		"an action as a variable":             {environ: []string{"WSC_CHECK=1"}, want: "WSC_CHECK: is not a setting; write the flag --check"},
		"a variable's value":                  {environ: []string{"WSC_LOG_LEVEL=warning"}, want: `WSC_LOG_LEVEL: must be debug, info, warn or error, not "warning"`},
		"a port without a colon":              {args: []string{"--listen=8080"}, want: `--listen: must be an address such as ":8080" or "127.0.0.1:8080", not "8080"`},
		"an empty public port":                {args: []string{"--listen="}, want: `--listen: must be an address such as ":8080", not empty`},
		"a port out of range":                 {args: []string{"--listen=:99999"}, want: `--listen: must end in a port from 0 (any free one) to 65535 such as ":8080", not ":99999"`},
		"two listeners on one port":           {args: []string{"--ops-listen=:8080"}, want: "--ops-listen: is :8080, and so is --listen: give each its own port"},
		"a certificate without its key":       {args: []string{"--tls-cert-file=/x"}, want: "--tls-cert-file: a certificate needs its private key: set --tls-key-file too"},
		"a key without its certificate":       {environ: []string{"WSC_TLS_KEY_FILE=/x"}, want: "WSC_TLS_KEY_FILE: a private key needs its certificate: set WSC_TLS_CERT_FILE too"},
		"a server API without keys":           {args: []string{"--api-listen=:1"}, want: "--api-listen: the server API needs keys: set --api-key-file, or leave this out to keep the API off"},
		"an unknown kind of identity":         {args: []string{"--auth=jtw"}, want: `--auth: must be guest, trusted or jwt, not "jtw"; did you mean jwt?`},
		"tokens without a key":                {args: []string{"--auth=jwt"}, want: "--auth: jwt needs a key to verify tokens with: set --jwks-url, or --jwt-secret-file"},
		"tokens with two keys":                {args: []string{"--auth=jwt", "--jwks-url=https://x", "--jwt-secret-file=/x"}, want: "--jwt-secret-file: cannot be combined with --jwks-url: keep the one that your tokens are signed for"},
		"a token key without tokens":          {args: []string{"--jwks-url=https://x/y"}, want: "--jwks-url: is only for tokens, but --auth is guest: set --auth to jwt, or leave this out"},
		"a key set that is no web address":    {args: []string{"--jwks-url=ftp://me:secret@x/y"}, want: `--jwks-url: must be an https:// or http:// URL such as "https://example.com/.well-known/jwks.json", not "ftp://…@x/y"`},
		"an unknown backplane":                {args: []string{"--backplane=redis+sentinal://u:secret@a"}, want: `--backplane: must be a URL that starts with memory://, redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster://, rediss+cluster://, not "redis+sentinal://…@a"; did you mean redis+sentinel?`},
		"a backplane with a bad port":         {args: []string{"--backplane=redis://u:secret@h:99999"}, want: `--backplane: must name its hosts as host:port such as redis:6379, not "h:99999"`},
		"a backplane without a host":          {args: []string{"--backplane=redis://"}, want: `--backplane: must name its hosts as host:port such as redis:6379, not ""`},
		"a password that is not encoded":      {args: []string{"--backplane=redis://u:a/b?#c@h:1"}, want: "--backplane: has a user or password with characters that must be percent-encoded in a URL (or use --redis-password-file)"},
		"two hosts without a topology":        {args: []string{"--backplane=redis://a:1,b:2"}, want: "--backplane: redis:// takes one host; write redis+sentinel:// or redis+cluster:// for several"},
		"a sentinel without its primary":      {args: []string{"--backplane=redis+sentinel://a:1,b:2/0"}, want: "--backplane: needs the name of the primary: write redis+sentinel://…?master=NAME"},
		"a cluster with a database":           {args: []string{"--backplane=redis+cluster://a:1/1"}, want: "--backplane: has a database number, which Redis Cluster does not know: leave out /1"},
		"a database that is no number":        {args: []string{"--backplane=redis://a:1/chat"}, want: `--backplane: must end in a database number such as /0, not "/chat"`},
		"a query that is not known":           {args: []string{"--backplane=redis://a:1/0?pool=3"}, want: `--backplane: takes no "pool" after the ?; only redis+sentinel:// takes one, ?master=NAME`},
		"Redis files without Redis":           {args: []string{"--redis-password-file=/x"}, want: "--redis-password-file: is for Redis, but --backplane is memory://: set --backplane to a redis URL, or leave this out"},
		"TLS files without TLS":               {args: []string{"--redis-ca-file=/x", "--backplane=redis://a"}, want: "--redis-ca-file: is for TLS, but --backplane starts with redis://: write rediss instead of redis, or leave this out"},
		"a server name without TLS":           {args: []string{"--redis-server-name=r", "--backplane=redis://a"}, want: "--redis-server-name: is for TLS, but --backplane starts with redis://: write rediss instead of redis, or leave this out"},
		"a server name with a port":           {args: []string{"--redis-server-name=r:1", "--backplane=rediss://a"}, want: `--redis-server-name: must be a host name without scheme or port such as "redis.example.com", not "r:1"`},
		"two passwords":                       {args: []string{"--redis-password-file=/x", "--backplane=redis://:p@a"}, want: "--redis-password-file: cannot be combined with a password in --backplane: keep one of the two"},
		"a cluster name with braces":          {args: []string{"--cluster={a}"}, want: `--cluster: must be 1 to 253 letters, digits, dots, dashes or underscores such as "default" or "team.chat", not "{a}"`},
		"a node name with a line break":       {args: []string{"--node=a\nb"}, want: "--node: must not hold control characters such as line breaks or tabs"},
		"a name that is not UTF-8":            {args: []string{"--node=\xff"}, want: "--node: must be valid UTF-8"},
		"an origin without a scheme":          {args: []string{"--allowed-origins=example.com"}, want: `--allowed-origins: must be origins such as "https://app.example.com", or "*" for any, not "example.com"`},
		"an origin with a path":               {args: []string{"--allowed-origins=https://a/b"}, want: `--allowed-origins: must be origins, which have no path: write "https://a", not "https://a/b"`},
		"a star in the middle of an origin":   {args: []string{"--allowed-origins=https://a.*.b"}, want: `--allowed-origins: must be origins such as "https://app.example.com" or "https://*.example.com", not "https://a.*.b"`},
		"a star beside origins":               {args: []string{"--allowed-origins=*,https://a"}, want: `--allowed-origins: must be either "*" alone or a list of origins, not both`},
		"a network that is none":              {args: []string{"--trusted-proxies=10.0.0.0/33"}, want: `--trusted-proxies: must be networks such as 10.0.0.0/8 or fd00::/8, or single addresses, not "10.0.0.0/33"`},
		"a queue smaller than a message":      {args: []string{"--send-queue-bytes=1000"}, want: "--send-queue-bytes: is 1000, but one message may have 65536 bytes (--max-message-bytes): the queue must hold at least one"},
		"a burst that lets nothing pass":      {args: []string{"--message-burst=0"}, want: "--message-burst: must be at least 1 while --messages-per-second is 50, else no message ever passes; --messages-per-second 0 means no limit"},
		"an empty claim":                      {args: []string{"--jwt-user-claim="}, want: `--jwt-user-claim: must name a claim such as "sub", not be empty`},
		"a settings file that does not exist": {args: []string{"--config=/nowhere/x.yaml"}, want: "--config: /nowhere/x.yaml does not exist"},
		"a key file that does not exist":      {args: []string{"--api-key-file=/nowhere/keys"}, want: "--api-key-file: /nowhere/keys does not exist"},
		"a folder for a file":                 {args: []string{"--ops-token-file=/"}, want: "--ops-token-file: / cannot be read: is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := FromCommandLine(test.args, test.environ)
			if err == nil {
				t.Fatalf("was taken, want: %s", test.want)
			}
			if err.Error() != test.want {
				t.Errorf("\ngot  %s\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), "secret@") || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("shows a password or breaks the line: %q", err)
			}
		})
	}
}

func TestWhatKubernetesPutsIntoTheEnvironmentIsNotOurs(t *testing.T) {
	_, _, err := FromCommandLine(nil, []string{
		"WSC_SERVICE_HOST=10.0.0.1", "WSC_SERVICE_PORT=80", "WSC_SERVICE_PORT_WS=80", "WSC_PORT=tcp://10.0.0.1:80",
		"WSC_PORT_80_TCP=tcp://10.0.0.1:80", "WSC_PORT_80_TCP_ADDR=10.0.0.1", "WSC_CHAT_PORT_80_TCP_PROTO=tcp",
	})
	if err != nil {
		t.Errorf("a Service named wsc stops the gateway: %v", err)
	}
}

func TestUsageListsEveryFlagOnce(t *testing.T) {
	usage := Usage()
	for _, o := range options {
		if count := strings.Count(usage, "      --"+o.flag+" "); count != 1 {
			t.Errorf("--%s stands %d times in the usage text", o.flag, count)
		}
	}
	for _, part := range []string{"--config file", "--check", "--version", "(default :8080)", "(default 25s)", "(default 20000)"} {
		if !strings.Contains(usage, part) {
			t.Errorf("the usage text lacks %q", part)
		}
	}
	for line := range strings.Lines(usage) {
		if len(line) > 160 {
			t.Errorf("too long to read: %s", line)
		}
	}
}
