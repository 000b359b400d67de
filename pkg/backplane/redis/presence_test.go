package redis

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

func TestPresenceContract(t *testing.T) {
	server := redistest.Start(t)
	backplanetest.RunPresence(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: server.URL()}) })
}

func TestPresenceContractOnAnEmbeddedServer(t *testing.T) {
	server := miniredis.RunT(t)
	backplanetest.RunPresence(t, func(t *testing.T) backplane.Backplane { return open(t, Options{URL: "redis://" + server.Addr()}) })
}
