package manifests

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/internal/testport"
)

// startRedis runs a real redis-server with the configuration and the users that the operator would give it, and returns its
// address. Only the port and the directories differ from a pod.
func startRedis(t *testing.T, input string, password string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: run apt-get install redis-server")
	}
	cluster := load(t, input)
	directory := t.TempDir()
	port := testport.Reserve(t)
	config := strings.NewReplacer(
		fmt.Sprintf("port %d\n", RedisPort), fmt.Sprintf("port %d\n", port),
		"dir "+redisDataDirectory, "dir "+directory,
		redisConfigDirectory, directory,
		"bind * -::*", "bind 127.0.0.1",
	).Replace(redisConfig(cluster))
	write(t, filepath.Join(directory, redisConfigFile), config)
	write(t, filepath.Join(directory, redisACLKey), redisACL(cluster, password))

	var output bytes.Buffer
	server := exec.Command(program, filepath.Join(directory, redisConfigFile))
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		probe := connect(t, address, "probe", "anything")
		if probe.Ping(t.Context()).Err() == nil {
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server does not answer the probe with the operator's configuration:\n%s", output.String())
		}
	}
}

func TestTheRedisUserIsHeldToItsClusterAndMayNotAdminister(t *testing.T) {
	address := startRedis(t, "testdata/minimal.in.yaml", "s3cret")
	gateway := connect(t, address, RedisUser, "s3cret")
	tests := []struct {
		name    string
		client  *redis.Client
		command []any
		allowed bool
	}{
		{"publish to the own prefix", gateway, []any{"PUBLISH", "default.chat:{r:lobby}:ch", "hello"}, true},
		{"write a key of the own prefix", gateway, []any{"SET", "default.chat:{r:lobby}:log", "1"}, true},
		{"run a script on the own prefix", gateway, []any{"EVAL", "return redis.call('INCR', KEYS[1])", 1, "default.chat:{r:lobby}:log"}, true},
		{"read which primary this is", gateway, []any{"INFO", "replication"}, true},
		{"read its role", gateway, []any{"ROLE"}, true},
		{"read the time", gateway, []any{"TIME"}, true},
		{"write a stream", gateway, []any{"XADD", "default.chat:{r:lobby}:stream", "*", "a", "b"}, true},
		{"name its connection", gateway, []any{"CLIENT", "SETNAME", "gateway"}, true},
		{"cut another's connection", gateway, []any{"CLIENT", "KILL", "TYPE", "normal"}, false},
		{"wait for replicas", gateway, []any{"WAIT", 0, 1}, true},
		{"publish to a cluster whose name starts the same", gateway, []any{"PUBLISH", "default.chat2:{r:lobby}:ch", "hello"}, false},
		{"write another cluster's key", gateway, []any{"SET", "other.chat:{r:lobby}:log", "1"}, false},
		{"write another cluster's key in a script", gateway, []any{"EVAL", "return redis.call('INCR', KEYS[1])", 1, "other.chat:x"}, false},
		{"empty the database", gateway, []any{"FLUSHALL"}, false},
		{"change the configuration", gateway, []any{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, false},
		{"list all keys", gateway, []any{"KEYS", "*"}, false},
		{"log in with a wrong password", connect(t, address, RedisUser, "wrong"), []any{"PING"}, false},
		{"log in as the user default", connect(t, address, "", ""), []any{"PING"}, false},
		{"read as the user probe", connect(t, address, "probe", "x"), []any{"GET", "default.chat:{r:lobby}:log"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.client.Do(t.Context(), test.command...).Err()
			if allowed := err == nil; allowed != test.allowed {
				t.Errorf("%v allowed: %v, want %v (%v)", test.command, allowed, test.allowed, err)
			}
		})
	}
}

func TestAFullRedisRefusesInsteadOfEvicting(t *testing.T) {
	address := startRedis(t, "testdata/small-redis.in.yaml", "s3cret")
	gateway := connect(t, address, RedisUser, "s3cret")
	value := strings.Repeat("x", 1<<20)
	var err error
	kept := 0
	for ; kept < 64 && err == nil; kept++ {
		err = gateway.Set(t.Context(), fmt.Sprintf("default.chat:{r:%d}:log", kept), value, 0).Err()
	}
	if err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("after %d MiB into a maxMemory of 16Mi the answer is %v; want the error OOM", kept, err)
	}
	if first := gateway.Exists(t.Context(), "default.chat:{r:0}:log").Val(); first != 1 {
		t.Errorf("the first key is gone: Redis evicts, acked messages would vanish")
	}
}

func TestStorageKeepsAnAppendOnlyFile(t *testing.T) {
	address := startRedis(t, "testdata/storage-and-api-off.in.yaml", "s3cret")
	gateway := connect(t, address, RedisUser, "s3cret")
	if got := gateway.Info(t.Context(), "persistence").Val(); !strings.Contains(got, "aof_enabled:1") {
		t.Errorf("no append-only file with storage:\n%s", got)
	}
}

// connect makes a client that tries each command once.
func connect(t *testing.T, address, user, password string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: address, Username: user, Password: password, MaxRetries: -1, DialerRetries: 1,
		Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
