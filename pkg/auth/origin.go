package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AllowOrigin says whether the page that a browser shows may connect. Allowed is Settings.AllowedOrigins: empty means that the page must
// come from the host that the request names; "*" lets all; https://*.example.com lets every subdomain but not example.com itself.
//
// A request without an Origin header does not come from a browser's page and is let through: a program can write any origin it likes,
// so the check would stop nobody but honest ones.
func AllowOrigin(r *http.Request, allowed []string) bool {
	headers := r.Header.Values("Origin")
	if len(headers) == 0 {
		return true
	}
	if len(headers) > 1 {
		return false
	}
	origin := strings.ToLower(headers[0])
	if slices.Contains(allowed, "*") {
		return true
	}
	if origin == "null" {
		return slices.Contains(allowed, "null")
	}
	scheme, host, found := strings.Cut(origin, "://")
	if !found || host == "" {
		return false
	}
	host = withoutStandardPort(scheme, host)
	if len(allowed) == 0 {
		return host == withoutStandardPort(scheme, strings.ToLower(r.Host))
	}
	return slices.ContainsFunc(allowed, func(entry string) bool { return matchOrigin(entry, scheme, host) })
}

func withoutStandardPort(scheme, host string) string {
	switch scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

func matchOrigin(entry, scheme, host string) bool {
	entryScheme, entryHost, _ := strings.Cut(entry, "://")
	if entryScheme != scheme {
		return false
	}
	domain, wildcard := strings.CutPrefix(entryHost, "*")
	if !wildcard {
		return entryHost == host
	}
	// The domain keeps its leading dot, so that evilexample.com is no subdomain of example.com.
	return len(host) > len(domain) && strings.HasSuffix(host, domain)
}

// ClientAddr returns the address of the client itself. It is the peer of the TCP connection, unless that is a trusted proxy: then
// X-Forwarded-For is read from its end, where the nearest proxy wrote, for as long as the addresses belong to trusted proxies too. What stands further
// to the left was written by somebody nobody vouches for. The result is invalid only if the peer has no IP address.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if len(trusted) == 0 || !isTrusted(addr, trusted) {
		return addr
	}
	lines := r.Header.Values("X-Forwarded-For")
	for _, line := range slices.Backward(lines) {
		for rest := line; rest != ""; {
			var entry string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				rest, entry = "", rest
			}
			hop := parseAddr(strings.TrimSpace(entry))
			if !hop.IsValid() {
				return addr
			}
			addr = hop
			if !isTrusted(addr, trusted) {
				return addr
			}
		}
	}
	return addr
}

// parseAddr reads an address with or without a port; the result is invalid for anything else.
func parseAddr(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(network netip.Prefix) bool { return network.Contains(addr) })
}
