// Command pki makes the certificates, keys and kubeconfigs of a cluster for developing. They live for a year in a folder
// that `cluster down` removes; nothing of them suits production (the admin's key lies beside everything else).
//
//	pki -out DIR -server URL -ips IP,... -nodes NAME,...
package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	out := flag.String("out", "", "folder to write to; made when missing")
	server := flag.String("server", "", "URL of the API server as the nodes reach it")
	ips := flag.String("ips", "", "addresses in the API server's certificate, comma-separated")
	nodes := flag.String("nodes", "", "names of nodes that get a kubelet kubeconfig, comma-separated")
	flag.Parse()
	if *out == "" || *server == "" || *ips == "" || *nodes == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out, *server, strings.Split(*ips, ","), strings.Split(*nodes, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		os.Exit(1)
	}
}

// run writes everything into dir. A name says what the file is for; *.crt, *.key and *.pub are PEM.
func run(dir, server string, ips, nodes []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cluster, err := newAuthority("wscluster-dev")
	if err != nil {
		return err
	}
	// Kubernetes wants the front proxy's certificates from an authority of its own: whoever that one signs may claim to
	// be any user.
	frontProxy, err := newAuthority("wscluster-dev-front-proxy")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt": cluster.certificatePEM(), "front-proxy-ca.crt": frontProxy.certificatePEM(),
	}
	if files["ca.key"], err = keyPEM(cluster.key); err != nil {
		return err
	}
	pairs := []struct {
		file      string
		authority authority
		subject   subject
	}{
		{"apiserver", cluster, subject{name: "kube-apiserver", hosts: append(ips,
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")}},
		{"apiserver-kubelet-client", cluster, subject{name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}}},
		{"front-proxy-client", frontProxy, subject{name: "front-proxy-client"}},
	}
	for _, p := range pairs {
		if files[p.file+".crt"], files[p.file+".key"], err = p.authority.issue(p.subject); err != nil {
			return err
		}
	}
	if files["service-account.key"], files["service-account.pub"], err = serviceAccountKeys(); err != nil {
		return err
	}
	for file, who := range users(nodes) {
		if files[file+".kubeconfig"], err = kubeconfig(cluster, server, who); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// users maps the name of a kubeconfig to the user it stands for; the names and groups are those that Kubernetes's
// built-in roles are bound to.
func users(nodes []string) map[string]subject {
	who := map[string]subject{
		"admin":                   {name: "wscluster-dev-admin", groups: []string{"system:masters"}},
		"kube-controller-manager": {name: "system:kube-controller-manager"},
		"kube-scheduler":          {name: "system:kube-scheduler"},
		"kube-proxy":              {name: "system:kube-proxy"},
	}
	for _, n := range nodes {
		who["kubelet-"+n] = subject{name: "system:node:" + n, groups: []string{"system:nodes"}}
	}
	return who
}

// serviceAccountKeys returns the private key that signs service account tokens and the public one that checks them; the
// API server takes the public key only from a file of its own.
func serviceAccountKeys() (private, public []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	if private, err = keyPEM(key); err != nil {
		return nil, nil, err
	}
	public, err = publicKeyPEM(&key.PublicKey)
	return private, public, err
}

func publicKeyPEM(key *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
