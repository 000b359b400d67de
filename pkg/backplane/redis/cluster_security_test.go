package redis

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// The rights are those of docs/configuration.md.
func TestAUserHeldToThePrefixCanDoEverythingOnAClusterWithTLS(t *testing.T) {
	ours := newAuthority(t, "ours")
	serverCert, serverKey := ours.issue("redis.example")
	clientCert, clientKey := ours.issue("gateway")
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(ours.file)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(pem)
	certificate, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	cluster := redistest.StartCluster(t, 3, 1, redistest.ClusterOptions{
		Args: []string{
			"--tls-port", "0", "--tls-cert-file", serverCert, "--tls-key-file", serverKey, "--tls-ca-cert-file", ours.file,
			"--tls-cluster", "yes", "--tls-replication", "yes", "--requirepass", "admin", "--masterauth", "admin",
			"--user", "gateway", "on", ">pass", "resetchannels", "~test:*", "&test:*", "-@all",
			"+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info", "+wait", "+time",
			"+asking", "+cluster|slots", "+cluster|nodes",
		},
		Client: &goredis.Options{Username: "default", Password: "admin", TLSConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}},
	})
	passwordFile := write(t, filepath.Join(t.TempDir(), "password"), "pass\n")
	o := Options{
		URL: strings.Replace(cluster.URL(), "://", "://gateway@", 1), PasswordFile: passwordFile,
		CAFile: ours.file, CertFile: clientCert, KeyFile: clientKey,
	}
	b, sink := start(t, o)
	for i := range 3 {
		target := roomIn(i, 3, "all")
		b.Subscribe(target)
		sink.AwaitSubscribed(target, 1)
		m := kept(target, "1")
		m.IdempotencyKey = "key"
		mustKeep(t, b, m)
		unkept := text(target, "2")
		unkept.IdempotencyKey = "other"
		backplanetest.MustPublish(t, b, unkept)
		backplanetest.MustPublish(t, b, text(target, "3"))
		sink.AwaitBodies(target, 3)
		readAll(t, b, target)
		b.Enter(target, "ann")
		backplanetest.AwaitMembers(t, b, target, "ann=1")
		b.Leave(target, "ann")
		backplanetest.AwaitMembers(t, b, target, "")
		b.Unsubscribe(target)
	}
	// Also while a slot moves, and when a replica takes over.
	target := roomIn(0, 3, "all")
	b.Subscribe(target)
	move := cluster.BeginMove(slotOfRoom(target), cluster.Primaries[1])
	move.Keys()
	mustKeep(t, b, kept(target, "asked"))
	move.Finish()
	sink.AwaitSubscribed(target, 2)
	primary := cluster.Primaries[2]
	primary.Kill()
	cluster.AwaitFailover(slotOfRoom(roomIn(2, 3, "all")), primary)
	await(t, "the new primary to take messages", func() bool {
		return backplanetest.Publish(t, b, kept(roomIn(2, 3, "all"), "after")).Err == nil
	})

	// With another prefix it may do nothing, and Status says so.
	o.Cluster = "other"
	wantNoLink(t, o, "NOPERM")
}

func TestAUserThatMayNotAskForTheTopologyIsToldSo(t *testing.T) {
	cluster := redistest.StartCluster(t, 1, 0, redistest.ClusterOptions{Args: []string{
		"--user", "gateway", "on", ">pass", "resetchannels", "~test:*", "&test:*", "-@all", "+@pubsub", "+ping", "+cluster|slots",
	}})
	wantNoLink(t, Options{URL: strings.Replace(cluster.URL(), "://", "://gateway:pass@", 1)}, "cluster|nodes")
}

// A single primary without replicas has nobody who could speak for it.
func TestAClusterOfOneNodeGoesOnAfterItHung(t *testing.T) {
	cluster := redistest.StartCluster(t, 1, 0, redistest.ClusterOptions{})
	b, _ := start(t, Options{URL: cluster.URL(), Timing: unaware()})
	target := room("alone")
	before := mustKeep(t, b, kept(target, "before"))
	cluster.Primaries[0].Pause()
	outcome := backplanetest.PublishAsync(t, b, kept(target, "meanwhile"))
	time.Sleep(2 * time.Second) // longer than a primary may be silent
	cluster.Primaries[0].Resume()
	if o := <-outcome; o.Err != nil || o.Receipt != (backplane.Receipt{Epoch: before.Epoch, Offset: 2}) {
		t.Errorf("a message ended with %+v, want offset 2 of the same epoch", o)
	}
}
