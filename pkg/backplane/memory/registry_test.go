package memory

import (
	"testing"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/backplanetest"
)

func TestRegistryContract(t *testing.T) {
	backplanetest.RunRegistry(t, func(*testing.T) backplane.Backplane { return New() })
}
