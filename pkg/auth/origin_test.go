package auth

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestWhichOriginsMayConnect(t *testing.T) {
	list := []string{"https://app.example.com", "http://localhost:3000", "https://*.example.org", "https://*.example.net:8443"}
	for name, test := range map[string]struct {
		host    string
		origins []string
		allowed []string
		want    bool
	}{
		"no origin is no browser":                        {"chat.example", nil, nil, true},
		"no origin is no browser, whatever the list":     {"chat.example", nil, list, true},
		"the same origin":                                {"chat.example", []string{"https://chat.example"}, nil, true},
		"the same origin with a port":                    {"localhost:8080", []string{"http://localhost:8080"}, nil, true},
		"the same origin whatever its case":              {"Chat.example", []string{"HTTPS://CHAT.EXAMPLE"}, nil, true},
		"the same origin with its standard port spelt":   {"chat.example:443", []string{"https://chat.example"}, nil, true},
		"the same origin by address":                     {"[::1]:8080", []string{"http://[::1]:8080"}, nil, true},
		"another host":                                   {"chat.example", []string{"https://evil.example"}, nil, false},
		"another port":                                   {"localhost:8080", []string{"http://localhost:3000"}, nil, false},
		"a host that only begins alike":                  {"chat.example", []string{"https://chat.example.evil"}, nil, false},
		"a host that only ends alike":                    {"chat.example", []string{"https://evilchat.example"}, nil, false},
		"a sandboxed page":                               {"chat.example", []string{"null"}, nil, false},
		"an empty origin":                                {"chat.example", []string{""}, nil, false},
		"two origins":                                    {"chat.example", []string{"https://chat.example", "https://evil.example"}, nil, false},
		"two origins in front of a star":                 {"chat.example", []string{"https://chat.example", "https://evil.example"}, []string{"*"}, false},
		"any with a star":                                {"chat.example", []string{"https://evil.example"}, []string{"*"}, true},
		"a sandboxed page with a star":                   {"chat.example", []string{"null"}, []string{"*"}, true},
		"a sandboxed page where it is listed":            {"chat.example", []string{"null"}, []string{"null"}, true},
		"one that is listed":                             {"chat.example", []string{"https://app.example.com"}, list, true},
		"one that is listed, its standard port spelt":    {"chat.example", []string{"https://app.example.com:443"}, list, true},
		"one that is listed with its port":               {"chat.example", []string{"http://localhost:3000"}, list, true},
		"one that is listed, by another scheme":          {"chat.example", []string{"http://app.example.com"}, list, false},
		"one that is listed, on another port":            {"chat.example", []string{"https://app.example.com:8443"}, list, false},
		"the same origin where a list leaves it out":     {"chat.example", []string{"https://chat.example"}, list, false},
		"a subdomain of a wildcard":                      {"chat.example", []string{"https://a.example.org"}, list, true},
		"a subdomain of a subdomain of a wildcard":       {"chat.example", []string{"https://b.a.example.org"}, list, true},
		"the domain of a wildcard itself":                {"chat.example", []string{"https://example.org"}, list, false},
		"a domain that ends like a wildcard's":           {"chat.example", []string{"https://evilexample.org"}, list, false},
		"a wildcard with a port":                         {"chat.example", []string{"https://a.example.net:8443"}, list, true},
		"a wildcard with a port, without it":             {"chat.example", []string{"https://a.example.net"}, list, false},
		"a wildcard's domain in front of another domain": {"chat.example", []string{"https://a.example.org.evil"}, list, false},
		"nothing before the dot of a wildcard":           {"chat.example", []string{"https://.example.org"}, list, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/ws", nil)
			r.Host = test.host
			for _, origin := range test.origins {
				r.Header.Add("Origin", origin)
			}
			if got := AllowOrigin(r, test.allowed); got != test.want {
				t.Errorf("host %s, origin %q, allowed %q: got %v, want %v", test.host, test.origins, test.allowed, got, test.want)
			}
		})
	}
}

func TestTheClientsAddressBehindTrustedProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"without proxies it is the peer":                    {"192.0.2.1:5000", []string{"198.51.100.7"}, nil, "192.0.2.1"},
		"a stranger's header is not believed":               {"192.0.2.1:5000", []string{"198.51.100.7"}, trusted, "192.0.2.1"},
		"a proxy's header is":                               {"10.1.2.3:5000", []string{"198.51.100.7"}, trusted, "198.51.100.7"},
		"a chain is read from its end":                      {"10.1.2.3:5000", []string{"1.1.1.1, 198.51.100.7, 10.9.9.9"}, trusted, "198.51.100.7"},
		"several header lines are one chain":                {"10.1.2.3:5000", []string{"1.1.1.1", "198.51.100.7", "10.9.9.9"}, trusted, "198.51.100.7"},
		"when all are proxies it is the farthest":           {"10.1.2.3:5000", []string{"10.8.8.8,10.9.9.9"}, trusted, "10.8.8.8"},
		"what is no address ends the chain":                 {"10.1.2.3:5000", []string{"198.51.100.7, unknown, 10.9.9.9"}, trusted, "10.9.9.9"},
		"a proxy that sends no header is the client":        {"10.1.2.3:5000", nil, trusted, "10.1.2.3"},
		"an empty header is none":                           {"10.1.2.3:5000", []string{""}, trusted, "10.1.2.3"},
		"ports beside addresses are left out":               {"10.1.2.3:5000", []string{"198.51.100.7:44321"}, trusted, "198.51.100.7"},
		"version 6":                                         {"[fd00::1]:5000", []string{"[2001:db8::7]:443"}, trusted, "2001:db8::7"},
		"version 6 without brackets":                        {"[fd00::1]:5000", []string{"2001:db8::7"}, trusted, "2001:db8::7"},
		"version 4 written as version 6 is the same client": {"[::ffff:10.1.2.3]:5000", []string{"::ffff:198.51.100.7"}, trusted, "198.51.100.7"},
		"a link-local peer loses its zone":                  {"[fe80::1%eth0]:5000", nil, trusted, "fe80::1"},
		"a peer without an address":                         {"@", []string{"198.51.100.7"}, trusted, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/ws", nil)
			r.RemoteAddr = test.peer
			for _, line := range test.forwarded {
				r.Header.Add("X-Forwarded-For", line)
			}
			if got := ClientAddr(r, test.trusted).String(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
