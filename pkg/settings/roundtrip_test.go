package settings

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sameSettings compares networks by value and takes an empty list for none, which means the same everywhere.
var sameSettings = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// everything sets each field to something other than its default.
func everything() Settings {
	return Settings{
		Listen: "0.0.0.0:80", APIListen: "[::]:81", APIKeyFile: "/keys/api", OpsListen: "127.0.0.1:82", OpsTokenFile: "/keys/ops",
		Backplane: "rediss+sentinel://user@a:1,b:2/3?master=chat", Cluster: "team.chat", Node: "chat-gateway-7d4b9-x2x8p",
		Redis:          RedisAccess{PasswordFile: "/redis/password", CAFile: "/redis/ca.crt", CertFile: "/redis/tls.crt", KeyFile: "/redis/tls.key", ServerName: "redis.example.com"},
		Auth:           Auth{Type: AuthJWT, JWT: JWT{JWKSURL: "https://id.example.com/keys", Issuer: "https://id.example.com/", Audience: []string{"chat", "yes"}, UserClaim: "email", RoomsClaim: "https://example.com/rooms"}},
		AllowedOrigins: []string{"https://app.example.com", "https://*.example.org:8443"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		TLSCertFile:    "/tls/tls.crt", TLSKeyFile: "/tls/tls.key", Compression: true,
		Heartbeat: 31 * time.Second,
		Drain:     Drain{Delay: 6 * time.Second, Timeout: 61 * time.Second, Rate: 501},
		Limits:    Limits{MaxConnections: 20001, MaxConnectionsPerUser: 5, MaxRoomsPerConnection: 101, MaxMessageBytes: 65537, SendQueueBytes: 1<<20 + 1, MessagesPerSecond: 51, MessageBurst: 102, ConnectsPerSecond: 1001, ConnectsPerSecondPerAddress: 21},
		Rooms: []RoomPolicy{
			{Match: "chat:*", History: &History{Size: 1001, TTL: 601 * time.Second, MinReplicas: 1}, Presence: true, Join: AccessAuthenticated, Publish: AccessMembers},
			{Match: "true", Join: AccessToken, Publish: AccessServer},
			{Match: "- [weird]: {\"x\": #*?'", Join: AccessNone, Publish: AccessNone},
		},
		DirectMessages: DirectMessages{Publish: AccessServer},
		Inbox:          &Inbox{Size: 101, TTL: 86401 * time.Second, MaxBytes: 262145},
		Demo:           true, LogLevel: "debug", LogFormat: "text",
	}
}

func TestWhatIsMarshalledIsParsedBackTheSame(t *testing.T) {
	withSecret := Default()
	withSecret.Auth = Auth{Type: AuthJWT, JWT: JWT{SecretFile: "/keys/jwt", UserClaim: "sub", RoomsClaim: "rooms"}}
	apiOff := Default()
	apiOff.APIListen = ""
	apiOn := Default()
	apiOn.APIKeyFile = "/keys/api"
	trusted := Default()
	trusted.Auth.Type = AuthTrusted

	for name, want := range map[string]Settings{
		"the defaults":            Default(),
		"everything set":          everything(),
		"tokens with a secret":    withSecret,
		"the server API off":      apiOff,
		"the server API on":       apiOn,
		"trusted ids":             trusted,
		"policies without extras": {},
	} {
		t.Run(name, func(t *testing.T) {
			if want.Listen == "" {
				want = Default()
				want.Rooms = []RoomPolicy{DefaultRoomPolicy()}
			}
			text, err := Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse("written.yaml", text)
			if err != nil {
				t.Fatalf("what Marshal wrote is refused: %v\n%s", err, text)
			}
			if diff := cmp.Diff(want, got, sameSettings); diff != "" {
				t.Errorf("settings changed on their way through the file (-written +read):\n%s\n%s", diff, text)
			}
		})
	}
}

// Every field must differ from its default in everything, or the round trip would not notice a forgotten one.
func TestTheRoundTripCoversEveryField(t *testing.T) {
	all, standard := everything(), Default()
	for _, o := range options {
		if o.path == "auth.jwt.secretFile" { // excluded by jwksURL; "tokens with a secret" has it
			continue
		}
		if o.bind(&all).String() == o.bind(&standard).String() {
			t.Errorf("%s has its default in everything()", o.path)
		}
	}
}

func TestTheFileFormIsTheContract(t *testing.T) {
	got, err := Marshal(everything())
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "everything.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the written form changed; gateways of other versions must still read it (-update rewrites):\n%s", diff)
	}
}

func TestMarshalRefusesWhatAFileCannotSay(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"half a second":      {func(s *Settings) { s.Heartbeat = 1500 * time.Millisecond }, "heartbeatSeconds: a file holds whole seconds, not 1.5s"},
		"a contradiction":    {func(s *Settings) { s.TLSCertFile = "/tls.crt" }, "tlsCertFile: a certificate needs its private key: set tlsKeyFile too"},
		"a figure too small": {func(s *Settings) { s.Limits.MaxConnections = 0 }, "limits.maxConnections: must be from 1 to 10000000, not 0"},
		"an unknown word":    {func(s *Settings) { s.Rooms = []RoomPolicy{{Match: "*", Join: "all", Publish: "none"}} }, `rooms[0].join: must be anyone, authenticated, token or none, not "all"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := Default()
			test.change(&s)
			_, err := Marshal(s)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
