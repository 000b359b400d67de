package local_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscluster/wscluster/pkg/local/localtest"
)

// certificateSecret makes a folder as a Secret of type kubernetes.io/tls, and returns what its certificate is checked against.
func certificateSecret(t *testing.T) (folder string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder, roots = t.TempDir(), x509.NewCertPool()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(certificate)
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder, roots
}

func TestGatewaysServeTLSWithTheCertificateOfASecret(t *testing.T) {
	t.Parallel()
	folder, roots := certificateSecret(t)
	file := clusterFile(t, "{replicas: 2, gateway: {tls: {secretName: chat-tls}}}")
	run := localtest.Start(t, wsc, nil, "-f", file, "--port", "0", "--secret", "chat-tls="+folder)
	address := run.Await(`Client +wss://(\S+)/ws`)[1]
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}, Subprotocols: []string{"wscluster.v1.json"}, HandshakeTimeout: localtest.Patience}
	ws, response, err := dialer.Dial("wss://"+address+"/ws", nil)
	if err != nil {
		t.Fatalf("connect by TLS: %v", err)
	}
	response.Body.Close()
	defer ws.Close()
	welcome, err := (&client{t: t, ws: ws}).read()
	if err != nil || welcome["type"] != "welcome" {
		t.Errorf("the first frame is %v, %v; want a welcome", welcome, err)
	}
	if _, err := tryConnect(t, address, "alice", "127.0.0.1"); err == nil {
		t.Error("a connection without TLS is taken")
	}
}
