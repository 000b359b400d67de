package settings

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"unicode"
)

// ReadSecret reads a file that holds one secret: a password, a token, a signing key. One line break at its end is not part of the secret;
// everything else is. An empty secret is an error. Errors name the path and never the content. It blocks on the disk.
func ReadSecret(path string) ([]byte, error) {
	data, err := readSmallFile(path)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if len(data) == 0 {
		return nil, fmt.Errorf("%s is empty; it must hold the secret", path)
	}
	return data, nil
}

// ReadKeys reads a file of bearer keys, one a line. Space around a key, blank lines and lines that start with # do not count.
// A file without any key is an error. Errors name the path and the line, never a key. It blocks on the disk.
func ReadKeys(path string) ([]string, error) {
	data, err := readSmallFile(path)
	if err != nil {
		return nil, err
	}
	var keys []string
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		key := strings.TrimSpace(line)
		if key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return nil, fmt.Errorf("%s has a key in line %d that no HTTP header can carry: write one key a line, of ASCII letters, digits and signs without spaces", path, number)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no key; write one a line", path)
	}
	return keys, nil
}

// checkFiles opens every file that the settings name, so that a wrong path or content stops the start and not the first client.
func (s *Settings) checkFiles() *keyError {
	secret := func(path string) error { _, err := ReadSecret(path); return err }
	keys := func(path string) error { _, err := ReadKeys(path); return err }
	for _, file := range []struct {
		path, name string
		check      func(string) error
	}{
		{"apiKeyFile", s.APIKeyFile, keys},
		{"opsTokenFile", s.OpsTokenFile, secret},
		{"auth.jwt.secretFile", s.Auth.JWT.SecretFile, secret},
		{"redisPasswordFile", s.Redis.PasswordFile, secret},
		{"redisCAFile", s.Redis.CAFile, checkAuthority},
		{"tlsCertFile", s.TLSCertFile, func(path string) error { return checkPair(path, s.TLSKeyFile) }},
		{"redisCertFile", s.Redis.CertFile, func(path string) error { return checkPair(path, s.Redis.KeyFile) }},
	} {
		if file.name == "" {
			continue
		}
		if err := file.check(file.name); err != nil {
			return &keyError{file.path, err}
		}
	}
	return nil
}

func checkAuthority(path string) error {
	data, err := readSmallFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return nil
}

func checkPair(certificate, key string) error {
	chain, err := readSmallFile(certificate)
	if err != nil {
		return err
	}
	private, err := readSmallFile(key)
	if err != nil {
		return err
	}
	if _, err := tls.X509KeyPair(chain, private); err != nil {
		return fmt.Errorf("%s and %s are not a certificate and its key: %s", certificate, key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return nil
}
