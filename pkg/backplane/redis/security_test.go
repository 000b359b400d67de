package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// roundTrip shows that publishing and subscribing work.
func roundTrip(t *testing.T, o Options) {
	t.Helper()
	b, sink := start(t, o)
	b.Subscribe(room("a"))
	sink.AwaitSubscribed(room("a"), 1)
	backplanetest.MustPublish(t, b, text(room("a"), "through"))
	sink.AwaitBodies(room("a"), 1)
}

// wantNoLink starts a backplane that must not come up, for a reason that contains want.
func wantNoLink(t *testing.T, o Options, want string) {
	t.Helper()
	b := open(t, o)
	b.Start(backplanetest.NewSink(t))
	t.Cleanup(func() { closeNow(b) })
	b.Subscribe(room("a"))
	backplanetest.AwaitStatus(t, b, "down because of "+want, func(s backplane.Status) bool {
		return !s.Up && strings.Contains(s.LastError, want)
	})
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAPasswordIsUsedFromTheURLAndFromAFile(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret/:@")
	file := filepath.Join(t.TempDir(), "password")
	roundTrip(t, Options{URL: "redis://:s3cret%2F%3A%40@" + server.Addr})
	roundTrip(t, Options{URL: server.URL(), PasswordFile: write(t, file, "s3cret/:@\n")})
	roundTrip(t, Options{URL: "redis://default:wrong@" + server.Addr, PasswordFile: file})
	wantNoLink(t, Options{URL: server.URL()}, "NOAUTH")
	wantNoLink(t, Options{URL: "redis://:wrong@" + server.Addr}, "WRONGPASS")
}

func TestARotatedPasswordIsTakenOverByTheNextConnection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	server := redistest.Start(t, "--requirepass", "old")
	b, sink := start(t, Options{URL: server.URL(), PasswordFile: write(t, file, "old")})
	b.Subscribe(room("a"))
	sink.AwaitSubscribed(room("a"), 1)
	server.Kill()
	awaitDown(t, b)
	write(t, file, "new")
	server.RestartWith("--requirepass", "new")
	awaitUp(t, b)
	sink.AwaitSubscribed(room("a"), 2)
}

func TestAUserHeldToThePrefixCanDoEverything(t *testing.T) {
	server := redistest.Start(t, "--user", "gateway", "on", ">pass", "resetchannels",
		"~ns.chat:*", "&ns.chat:*", "-@all", "+publish", "+subscribe", "+unsubscribe", "+ping")
	url := "redis://gateway:pass@" + server.Addr
	roundTrip(t, Options{URL: url, Cluster: "ns.chat"})

	// With another prefix it may do nothing, and Status says so.
	wantNoLink(t, Options{URL: url, Cluster: "other"}, "NOPERM")
	b := open(t, Options{URL: url, Cluster: "other"})
	b.Start(backplanetest.NewSink(t))
	t.Cleanup(func() { closeNow(b) })
	awaitUp(t, b) // nothing is subscribed to yet
	o := backplanetest.Publish(t, b, text(room("a"), "foreign"))
	if !errors.Is(o.Err, backplane.ErrUnavailable) || !strings.Contains(o.Err.Error(), "NOPERM") {
		t.Errorf("a publication without the right to ended with %v, want ErrUnavailable and Redis's reason", o.Err)
	}
	if got := b.Counters().Failed[FailureRefused]; got != 1 {
		t.Errorf("%d refusals counted, want 1", got)
	}
}

func TestClustersOnOneRedisDoNotSeeEachOther(t *testing.T) {
	server := redistest.Start(t)
	b1, sink1 := start(t, Options{URL: server.URL(), Cluster: "ns.one"})
	b2, sink2 := start(t, Options{URL: server.URL() + "/3", Cluster: "ns.two"})
	b3, sink3 := start(t, Options{URL: server.URL() + "/5", Cluster: "ns.two"})
	for b, sink := range map[*Backplane]*backplanetest.Sink{b1: sink1, b2: sink2, b3: sink3} {
		b.Subscribe(room("a"))
		sink.AwaitSubscribed(room("a"), 1)
	}
	backplanetest.MustPublish(t, b1, text(room("a"), "one"))
	backplanetest.MustPublish(t, b2, text(room("a"), "two"))
	sink1.AwaitBodies(room("a"), 1)
	sink2.AwaitBodies(room("a"), 1)
	// The same cluster is the same whatever the number of the database: Pub/Sub has none.
	sink3.AwaitBodies(room("a"), 1)
	// A second message of each proves that nothing foreign came before it.
	backplanetest.MustPublish(t, b1, text(room("a"), "one again"))
	backplanetest.MustPublish(t, b2, text(room("a"), "two again"))
	for sink, want := range map[*backplanetest.Sink]string{sink1: "one,one again", sink2: "two,two again", sink3: "two,two again"} {
		if got := strings.Join(sink.AwaitBodies(room("a"), 2), ","); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.pem("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) pem(name, kind string, der []byte) string {
	return write(a.t, filepath.Join(a.dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// issue returns the files of a certificate for a name and 127.0.0.1.
func (a *authority) issue(name string) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.pem(name+".crt", "CERTIFICATE", der), a.pem(name+".key", "PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	serverCert, serverKey := ours.issue("redis.example")
	clientCert, clientKey := ours.issue("gateway")
	server := redistest.Start(t, "--tls-port", "0", "--tls-cert-file", serverCert, "--tls-key-file", serverKey, "--tls-ca-cert-file", ours.file)
	good := Options{URL: server.URL(), CAFile: ours.file, CertFile: clientCert, KeyFile: clientKey}
	if !strings.HasPrefix(good.URL, "rediss://") {
		t.Fatalf("the test's server is at %s, want a TLS port", good.URL)
	}

	t.Run("with the right files", func(t *testing.T) { roundTrip(t, good) })
	t.Run("with the certificate's other name", func(t *testing.T) {
		o := good
		o.ServerName = "redis.example"
		roundTrip(t, o)
	})
	t.Run("with a name that the certificate does not have", func(t *testing.T) {
		o := good
		o.ServerName = "other.example"
		wantNoLink(t, o, "other.example")
	})
	t.Run("with a foreign authority", func(t *testing.T) {
		o := good
		o.CAFile = theirs.file
		wantNoLink(t, o, "unknown authority")
	})
	t.Run("without a client certificate", func(t *testing.T) {
		o := good
		o.CertFile, o.KeyFile = "", ""
		wantNoLink(t, o, "certificate required")
	})
	t.Run("without TLS", func(t *testing.T) {
		b := open(t, Options{URL: "redis://" + server.Addr})
		b.Start(backplanetest.NewSink(t))
		t.Cleanup(func() { closeNow(b) })
		backplanetest.AwaitStatus(t, b, "down", func(s backplane.Status) bool { return !s.Up && s.LastError != "not connected to Redis yet" })
	})
}
