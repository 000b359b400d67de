package settings

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// requiredAddress is the rule of a port that must be served.
func requiredAddress(example string) func(string) error {
	return func(address string) error {
		if address == "" {
			return fmt.Errorf("must be an address such as %q, not empty", example)
		}
		return checkAddress(address, example)
	}
}

// optionalAddress is the rule of a port that is off while it is empty.
func optionalAddress(example string) func(string) error {
	return func(address string) error {
		if address == "" {
			return nil
		}
		return checkAddress(address, example)
	}
}

func checkAddress(address, example string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("must be an address such as %q or \"127.0.0.1%s\", not %q", example, example, address)
	}
	if number, err := strconv.Atoi(port); err != nil || number < 0 || number > 65535 {
		return fmt.Errorf("must end in a port from 0 (any free one) to 65535 such as %q, not %q", example, address)
	}
	return nil
}

// sameFixedAddress says whether two listeners would fight for one port. Port 0 never does.
func sameFixedAddress(a, b string) bool {
	return a != "" && a == b && !strings.HasSuffix(a, ":0")
}

// maxNameBytes bounds names that end up in keys, labels and log lines; it is the bound of a DNS name.
const maxNameBytes = 253

func checkClusterName(name string) error {
	if name == "" || len(name) > maxNameBytes || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) {
		// Braces would move the hash tag of Redis Cluster, a star would widen the pattern of an ACL.
		return fmt.Errorf("must be 1 to %d letters, digits, dots, dashes or underscores such as \"default\" or \"team.chat\", not %q", maxNameBytes, name)
	}
	return nil
}

// checkNodeName allows the empty name, which the process fills with its host name.
func checkNodeName(name string) error {
	if len(name) > maxNameBytes {
		return fmt.Errorf("must be at most %d bytes, not %d", maxNameBytes, len(name))
	}
	return nil
}

// checkServerName allows the empty name, which stands for the host that is connected to.
func checkServerName(name string) error {
	if len(name) > maxNameBytes || strings.ContainsAny(name, "/@ ") {
		return fmt.Errorf("must be a host name without scheme or port such as \"redis.example.com\", not %q", name)
	}
	if _, _, err := net.SplitHostPort(name); err == nil {
		return fmt.Errorf("must be a host name without scheme or port such as \"redis.example.com\", not %q", name)
	}
	return nil
}

func requiredClaim(example string) func(string) error {
	return func(claim string) error {
		if claim == "" {
			return fmt.Errorf("must name a claim such as %q, not be empty", example)
		}
		return nil
	}
}

func parseAudience(text string) (string, error) {
	if text == "" || strings.Contains(text, ",") {
		return "", fmt.Errorf("must be a list of audiences without commas in them, not %q", text)
	}
	return text, checkText(text)
}

func checkJWKSURL(text string) error {
	if text == "" {
		return nil
	}
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || address.Scheme != "https" && address.Scheme != "http" {
		return fmt.Errorf("must be an https:// or http:// URL such as \"https://example.com/.well-known/jwks.json\", not %q", redactURL(text))
	}
	return nil
}

// redactURL hides what stands before an @ in a URL that may not even parse: errors go to logs.
func redactURL(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + rest
}

func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("must be networks such as 10.0.0.0/8 or fd00::/8, or single addresses, not %q", text)
	}
	return network.Masked(), nil
}

// parseOrigin returns the origin as browsers send it: lower case, without the scheme's own port.
func parseOrigin(text string) (string, error) {
	if text == "*" || text == "null" {
		return text, nil
	}
	text = strings.ToLower(text)
	scheme, host, found := strings.Cut(text, "://")
	if !found || scheme == "" || host == "" {
		return "", fmt.Errorf("must be origins such as \"https://app.example.com\", or \"*\" for any, not %q", text)
	}
	if at := strings.IndexAny(host, "/?#@"); at >= 0 {
		if host[at] == '@' {
			return "", fmt.Errorf("must be origins such as \"https://app.example.com\", without user or password")
		}
		return "", fmt.Errorf("must be origins, which have no path: write %q, not %q", scheme+"://"+host[:at], text)
	}
	origin, err := url.Parse(scheme + "://" + strings.TrimPrefix(host, "*."))
	if err != nil || origin.Hostname() == "" || strings.Contains(origin.Hostname(), "*") {
		return "", fmt.Errorf("must be origins such as \"https://app.example.com\" or \"https://*.example.com\", not %q", text)
	}
	if port := origin.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			return "", fmt.Errorf("must be origins with a port from 1 to 65535, not %q", text)
		}
	}
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	if scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + strings.TrimSuffix(host, ":"), checkText(text)
}

func checkOrigins(origins []string) error {
	if len(origins) > 1 && slices.Contains(origins, "*") {
		return fmt.Errorf("must be either \"*\" alone or a list of origins, not both")
	}
	return nil
}

// checkBackplane judges the form of the URL only; whether Redis answers is found out by connecting.
func checkBackplane(text string) error {
	b, err := parseBackplane(text)
	if err != nil {
		return err
	}
	switch {
	case b.scheme == "memory":
		if text != "memory://" {
			return fmt.Errorf("memory:// takes no address")
		}
	case strings.HasSuffix(b.scheme, "+sentinel") && b.master == "":
		return fmt.Errorf("needs the name of the primary: write %s://…?master=NAME", b.scheme)
	}
	return nil
}

// backplaneURL is a backplane's URL taken apart. The standard parser does not take several hosts.
type backplaneURL struct {
	scheme   string
	tls      bool
	password bool
	hosts    []string
	master   string
}

var backplaneSchemes = []string{"memory", "redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}

// parseBackplane's errors never hold what stands before the @.
func parseBackplane(text string) (backplaneURL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !slices.Contains(backplaneSchemes, scheme) {
		return backplaneURL{}, fmt.Errorf("must be a URL that starts with %s://, not %q%s", strings.Join(backplaneSchemes, "://, "), redactURL(text), suggest(scheme, backplaneSchemes))
	}
	b := backplaneURL{scheme: scheme, tls: strings.HasPrefix(scheme, "rediss")}
	if scheme == "memory" {
		return b, nil
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, err := url.ParseRequestURI("redis://" + rest[:at] + "@host")
		if err != nil {
			return b, fmt.Errorf("has a user or password with characters that must be percent-encoded in a URL (or use --redis-password-file)")
		}
		_, b.password = user.User.Password()
		rest = rest[at+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	if err := b.readQuery(query); err != nil {
		return b, err
	}
	hosts, database, _ := strings.Cut(rest, "/")
	b.hosts = strings.Split(hosts, ",")
	if len(b.hosts) > 1 && !strings.Contains(scheme, "+") {
		return b, fmt.Errorf("%s:// takes one host; write %s+sentinel:// or %s+cluster:// for several", scheme, scheme, scheme)
	}
	for _, host := range b.hosts {
		if err := checkRedisHost(host); err != nil {
			return b, err
		}
	}
	if database == "" {
		return b, nil
	}
	if strings.HasSuffix(scheme, "+cluster") {
		return b, fmt.Errorf("has a database number, which Redis Cluster does not know: leave out /%s", database)
	}
	if number, err := strconv.Atoi(database); err != nil || number < 0 {
		return b, fmt.Errorf("must end in a database number such as /0, not %q", "/"+database)
	}
	return b, nil
}

func (b *backplaneURL) readQuery(query string) error {
	if query == "" {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("has a part after ? that is not a query")
	}
	for name := range values {
		if name != "master" || !strings.HasSuffix(b.scheme, "+sentinel") {
			return fmt.Errorf("takes no %q after the ?; only redis+sentinel:// takes one, ?master=NAME", name)
		}
	}
	b.master = values.Get("master")
	return nil
}

func checkRedisHost(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		// Without a port the Redis default holds.
		host, port = strings.Trim(text, "[]"), "6379"
		if strings.Contains(host, ":") {
			if _, err := netip.ParseAddr(host); err != nil {
				host = ""
			}
		}
	}
	if number, err := strconv.Atoi(port); host == "" || err != nil || number < 1 || number > 65535 || strings.ContainsAny(host, " \\") {
		return fmt.Errorf("must name its hosts as host:port such as redis:6379, not %q", text)
	}
	return nil
}
