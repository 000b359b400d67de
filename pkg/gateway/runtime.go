package gateway

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// memoryShare of a container's memory limit is Go's. The rest is the kernel's: the buffers of the clients' sockets count
	// as the container's memory too.
	memoryShare = 0.75
	// gcPercent lets the heap grow to three times what is alive before it is collected. A gateway's live heap is small, a
	// kilobyte or two a connection, and collecting it half as often takes a good part off the cost of a connect. Near the
	// memory limit the collector runs as often as it has to all the same.
	gcPercent = 200
)

// tuneRuntime sets what Go does not find out by itself inside a container: how much memory there is. (How many CPUs there are
// it does find out.) The variables GOMEMLIMIT and GOGC win.
func tuneRuntime(logger *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	if err != nil {
		logger.Debug("no memory limit of a container was found", "error", err)
		return
	}
	logger.Debug("memory limit set", "bytes", limit)
}
