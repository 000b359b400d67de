package redis

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestURLsAreRead(t *testing.T) {
	for _, c := range []struct {
		url  string
		want endpoint
	}{
		{"redis://localhost", endpoint{addr: "localhost:6379"}},
		{"redis://localhost:7000/", endpoint{addr: "localhost:7000"}},
		{"redis://10.0.0.1:7000/12", endpoint{addr: "10.0.0.1:7000", db: 12}},
		{"redis://[::1]:7000", endpoint{addr: "[::1]:7000"}},
		{"redis://:p%40ss@h", endpoint{addr: "h:6379", password: "p@ss"}},
		{"redis://u:p@h", endpoint{addr: "h:6379", user: "u", password: "p"}},
		{"redis://u@h", endpoint{addr: "h:6379", user: "u"}},
		{"rediss://redis.example:6380/1", endpoint{addr: "redis.example:6380", tls: true, db: 1}},
		{"redis+sentinel://u:p%40@s1,s2:7000,[::1]:7001/2?master=chat", endpoint{
			hosts: []string{"s1:26379", "s2:7000", "[::1]:7001"}, master: "chat", user: "u", password: "p@", db: 2,
		}},
		{"rediss+sentinel://s1?master=a%20b", endpoint{hosts: []string{"s1:26379"}, master: "a b", tls: true}},
		{"redis+cluster://u:p%40@r1,r2:7000,[::1]:7001/", endpoint{
			hosts: []string{"r1:6379", "r2:7000", "[::1]:7001"}, sharded: true, user: "u", password: "p@",
		}},
		{"rediss+cluster://r1", endpoint{hosts: []string{"r1:6379"}, sharded: true, tls: true}},
	} {
		got, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
		} else if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(endpoint{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.url, diff)
		}
	}
}

func TestWrongOptionsAreRefusedWithASentence(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "file"), "x")
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no URL", Options{Cluster: "c"}, "redis://[user"},
		{"another scheme", Options{URL: "http://h", Cluster: "c"}, `"http" is no scheme`},
		{"a Redis Cluster with a database", Options{URL: "redis+cluster://h1,h2/1", Cluster: "c"}, "names a database"},
		{"a Redis Cluster with a query", Options{URL: "redis+cluster://h1?x=1", Cluster: "c"}, "no query"},
		{"a Redis Cluster without a host", Options{URL: "redis+cluster://,h", Cluster: "c"}, "lacks a host"},
		{"a Redis Cluster with a bad password", Options{URL: "redis+cluster://u:secret%zz@h", Cluster: "c"}, "cannot be read"},
		{"sentinels without the primary's name", Options{URL: "redis+sentinel://h1,h2", Cluster: "c"}, "?master=NAME"},
		{"sentinels with a further query", Options{URL: "redis+sentinel://h1?master=a&x=1", Cluster: "c"}, "nothing else"},
		{"sentinels with an empty host", Options{URL: "redis+sentinel://h1,,h2?master=a", Cluster: "c"}, "lacks a host"},
		{"sentinels with a bad port", Options{URL: "redis+sentinel://h1:0?master=a", Cluster: "c"}, `port "0"`},
		{"sentinels with a bad password", Options{URL: "redis+sentinel://u:secret%zz@h1?master=a", Cluster: "c"}, "cannot be read"},
		{"unreadable", Options{URL: "redis://u:secret%zz@h", Cluster: "c"}, "cannot be read"},
		{"no host", Options{URL: "redis://:7000", Cluster: "c"}, "lacks a host"},
		{"a port out of range", Options{URL: "redis://h:70000", Cluster: "c"}, `port "70000"`},
		{"a database that is no number", Options{URL: "redis://h/zero", Cluster: "c"}, `database "zero"`},
		{"a negative database", Options{URL: "redis://h/-1", Cluster: "c"}, `database "-1"`},
		{"a query", Options{URL: "redis://h?db=1", Cluster: "c"}, "no query"},
		{"no cluster", Options{URL: "redis://h"}, "cluster name"},
		{"a cluster with a glob", Options{URL: "redis://h", Cluster: "a*"}, "cluster name"},
		{"a cluster with a colon", Options{URL: "redis://h", Cluster: "a:b"}, "cluster name"},
		{"a long cluster", Options{URL: "redis://h", Cluster: strings.Repeat("a", 254)}, "cluster name"},
		{"a certificate without key", Options{URL: "rediss://h", Cluster: "c", CertFile: file}, "both"},
		{"TLS files without TLS", Options{URL: "redis://h", Cluster: "c", CAFile: file}, "rediss://"},
		{"a file that is not there", Options{URL: "redis://h", Cluster: "c", PasswordFile: file + ".not"}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("New says %v, want a sentence with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("New says %q: more than one line, or a password", err)
			}
		})
	}
}
