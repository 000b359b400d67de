package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wscluster/wscluster/pkg/client"
)

// connectFlags say where and as whom publish and tail connect.
type connectFlags struct {
	urls, headers            []string
	user                     string
	token, tokenFile, caFile string
	timeout                  time.Duration
}

func (f *connectFlags) add(flags *pflag.FlagSet, timeoutUsage string) {
	flags.StringArrayVar(&f.urls, "url", []string{"ws://127.0.0.1:8080/ws"}, "address of the cluster; may be repeated, the next one is tried after a failure")
	flags.StringVar(&f.user, "user", "", "user id, for gateways with --auth=trusted")
	flags.StringVar(&f.token, "token", "", "bearer token; other users of this machine can see it: better use --token-file")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with a bearer token; read again when the token ends")
	flags.StringArrayVar(&f.headers, "header", nil, "\"Name: value\" for the handshake; may be repeated")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM file of the CA that signed the gateways' certificates")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, timeoutUsage)
}

// options reads the files and parses what the flags hold.
func (f *connectFlags) options() (client.Options, error) {
	o := client.Options{URLs: f.urls, UserID: f.user}
	if f.timeout <= 0 {
		return o, usageError(fmt.Errorf("--timeout: %v is no time to wait; give one such as 10s", f.timeout))
	}
	for _, address := range f.urls {
		if u, err := url.Parse(address); err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
			return o, usageError(fmt.Errorf("--url: %q is no WebSocket address: write it like ws://127.0.0.1:8080/ws or wss://chat.example.com/ws", address))
		}
	}
	var err error
	if o.Header, err = parseHeaders(f.headers); err != nil {
		return o, usageError(err)
	}
	switch {
	case f.token != "" && f.tokenFile != "":
		return o, usageError(errors.New("give either --token or --token-file, not both"))
	case f.token != "":
		o.Token = client.StaticToken(f.token)
	case f.tokenFile != "":
		o.Token = fileToken(f.tokenFile)
		if _, err := o.Token(context.Background()); err != nil {
			return o, usageError(err)
		}
	}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return o, usageError(fmt.Errorf("--ca-file: %w", err))
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return o, usageError(fmt.Errorf("--ca-file: %s holds no PEM certificate", f.caFile))
		}
		o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return o, nil
}

// fileToken reads the file at every call, so that whatever renews it renews the client's token too.
func fileToken(file string) client.TokenSource {
	return func(context.Context) (string, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" || strings.ContainsAny(token, " \n\t") {
			return "", fmt.Errorf("--token-file: %s must hold one token and nothing else", file)
		}
		return token, nil
	}
}

func parseHeaders(lines []string) (http.Header, error) {
	header := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("--header %q: write it like \"Origin: https://chat.example.com\"", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}
