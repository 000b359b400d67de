package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const (
	urlForm         = "write redis://[user[:password]@]host[:port][/db], or rediss:// for TLS"
	clusterURLForm  = "write redis+cluster://[user[:password]@]host[:port],…, or rediss+cluster:// for TLS"
	sentinelURLForm = "write redis+sentinel://[user[:password]@]host[:port],…[/db]?master=NAME, or rediss+sentinel:// for TLS"
)

// parseURL never repeats the URL in an error: it may hold a password.
func parseURL(text string) (endpoint, error) {
	switch scheme, rest, _ := strings.Cut(text, "://"); scheme {
	case "redis+sentinel", "rediss+sentinel":
		return parseSentinelURL(scheme, rest)
	case "redis+cluster", "rediss+cluster":
		return parseClusterURL(scheme, rest)
	}
	u, err := url.Parse(text)
	if err != nil {
		return endpoint{}, errors.New("the Redis URL cannot be read: " + urlForm)
	}
	var e endpoint
	switch u.Scheme {
	case "redis":
	case "rediss":
		e.tls = true
	default:
		return e, fmt.Errorf("%q is no scheme of a Redis URL: %s", u.Scheme, urlForm)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return e, errors.New("the Redis URL takes no query and no fragment: " + urlForm)
	}
	if e.addr, err = hostPort(u, "6379"); err != nil {
		return e, err
	}
	err = e.readUserAndDatabase(u)
	return e, err
}

// parseSentinelURL reads what follows redis+sentinel://.
func parseSentinelURL(scheme, rest string) (endpoint, error) {
	e := endpoint{tls: scheme == "rediss+sentinel"}
	u, err := e.readHosts(rest, "26379", sentinelURLForm)
	if err != nil {
		return e, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if e.master = query.Get("master"); err != nil || e.master == "" || len(query) > 1 || u.Fragment != "" {
		return e, errors.New("the Redis URL must name the primary, and nothing else, after the ?: " + sentinelURLForm)
	}
	err = e.readUserAndDatabase(u)
	return e, err
}

// parseClusterURL reads what follows redis+cluster://.
func parseClusterURL(scheme, rest string) (endpoint, error) {
	e := endpoint{tls: scheme == "rediss+cluster", sharded: true}
	u, err := e.readHosts(rest, "6379", clusterURLForm)
	if err != nil {
		return e, err
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return e, errors.New("the Redis URL takes no query and no fragment: " + clusterURLForm)
	}
	if strings.Trim(u.Path, "/") != "" {
		return e, errors.New("the Redis URL names a database, which Redis Cluster does not know: " + clusterURLForm)
	}
	err = e.readUserAndDatabase(u)
	return e, err
}

// readHosts reads a list of hosts with their ports, which is nothing that net/url reads, and returns the rest of the URL.
func (e *endpoint) readHosts(rest, port, form string) (*url.URL, error) {
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	u, err := url.Parse("redis://" + rest[:at] + "hosts" + rest[end:])
	if err != nil {
		return nil, errors.New("the Redis URL cannot be read: " + form)
	}
	for host := range strings.SplitSeq(rest[at:end], ",") {
		h, err := url.Parse("redis://" + host)
		if err != nil {
			return nil, errors.New("a host of the Redis URL cannot be read: " + form)
		}
		addr, err := hostPort(h, port)
		if err != nil {
			return nil, err
		}
		e.hosts = append(e.hosts, addr)
	}
	return u, nil
}

// hostPort returns a URL's host and port, or the given port when it has none.
func hostPort(u *url.URL, port string) (string, error) {
	if u.Hostname() == "" {
		return "", errors.New("the Redis URL lacks a host: " + urlForm)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("the port %q of the Redis URL must be 1 to 65535", port)
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

func (e *endpoint) readUserAndDatabase(u *url.URL) (err error) {
	e.user = u.User.Username()
	e.password, _ = u.User.Password()
	if db := strings.Trim(u.Path, "/"); db != "" {
		if e.db, err = strconv.Atoi(db); err != nil || e.db < 0 {
			return fmt.Errorf("the database %q of the Redis URL must be a number from 0", db)
		}
	}
	return nil
}
