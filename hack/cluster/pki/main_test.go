package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func readCertificate(t *testing.T, content []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(content)
	if block == nil {
		t.Fatal("no PEM block")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestEveryCertificateIsOfItsOwnAuthorityAndNamesItsUser(t *testing.T) {
	dir := t.TempDir()
	if err := run(dir, "https://198.18.255.1:6443", []string{"127.0.0.1", "198.19.0.1"}, []string{"node-1"}); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	pool := func(name string) *x509.CertPool {
		p := x509.NewCertPool()
		p.AppendCertsFromPEM(read(name))
		return p
	}
	verify := func(what string, c *x509.Certificate, ca, host string) {
		t.Helper()
		_, err := c.Verify(x509.VerifyOptions{Roots: pool(ca), DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			t.Errorf("%s is not accepted with %s for %q: %v", what, ca, host, err)
		}
	}

	apiServer := readCertificate(t, read("apiserver.crt"))
	for _, host := range []string{"127.0.0.1", "198.19.0.1", "kubernetes.default.svc"} {
		verify("the API server's certificate", apiServer, "ca.crt", host)
	}
	verify("the front proxy's certificate", readCertificate(t, read("front-proxy-client.crt")), "front-proxy-ca.crt", "")
	if _, err := readCertificate(t, read("front-proxy-client.crt")).Verify(x509.VerifyOptions{Roots: pool("ca.crt"), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("the cluster's authority accepts the front proxy's certificate; the two must not be mixed")
	}

	for _, c := range []struct{ file, user, group string }{
		{"admin", "wscluster-dev-admin", "system:masters"},
		{"kubelet-node-1", "system:node:node-1", "system:nodes"},
		{"kube-scheduler", "system:kube-scheduler", ""},
	} {
		config, err := clientcmd.Load(read(c.file + ".kubeconfig"))
		if err != nil {
			t.Fatalf("%s.kubeconfig: %v", c.file, err)
		}
		rest, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
		if err != nil {
			t.Fatalf("%s.kubeconfig: %v", c.file, err)
		}
		if rest.Host != "https://198.18.255.1:6443" {
			t.Errorf("%s.kubeconfig leads to %s", c.file, rest.Host)
		}
		certificate := readCertificate(t, rest.CertData)
		verify(c.file, certificate, "ca.crt", "")
		if certificate.Subject.CommonName != c.user {
			t.Errorf("%s stands for the user %q, want %q", c.file, certificate.Subject.CommonName, c.user)
		}
		if c.group != "" && (len(certificate.Subject.Organization) != 1 || certificate.Subject.Organization[0] != c.group) {
			t.Errorf("%s has the groups %v, want %s", c.file, certificate.Subject.Organization, c.group)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("ca.key is readable by others (%v, %v)", info, err)
	}
}
