package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/backplane/memory"
	"github.com/wscluster/wscluster/pkg/backplane/redis"
	"github.com/wscluster/wscluster/pkg/settings"
	"github.com/wscluster/wscluster/pkg/version"
)

// The exit statuses of the process.
const (
	exitOK       = 0
	exitFailed   = 1
	exitSettings = 2 // a flag, a variable or the file is wrong
)

// Main is the gateway's whole process: it reads the settings, serves until SIGTERM or SIGINT, drains, and returns the exit
// status. A second signal ends it at once. args come without the program's name.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	s, action, err := settings.FromCommandLine(args, environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitSettings
	}
	switch action {
	case settings.Help:
		fmt.Fprint(stdout, settings.Usage())
		return exitOK
	case settings.Version:
		fmt.Fprintln(stdout, "wscluster gateway", version.Version)
		return exitOK
	case settings.Check:
		fmt.Fprintln(stdout, "the settings are valid")
		return exitOK
	}
	logger := newLogger(s, stderr)
	tuneRuntime(logger)
	if err := serve(s, args, environ, logger); err != nil {
		logger.Error("the gateway ends", "error", err)
		return exitFailed
	}
	return exitOK
}

func serve(s settings.Settings, args, environ []string, logger *slog.Logger) error {
	plane, err := openBackplane(s, logger)
	if err != nil {
		return err
	}
	g, err := New(s, plane, logger)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hard, cut := context.WithCancel(context.Background())
	defer cut()
	again := make(chan os.Signal, 2)
	signal.Notify(again, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(again)
	go func() {
		<-again
		<-again
		logger.Warn("a second signal: ending at once")
		cut()
	}()
	go g.reload(ctx, args, environ)
	return g.Run(ctx, hard)
}

func newLogger(s settings.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // validated with the settings
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func openBackplane(s settings.Settings, logger *slog.Logger) (backplane.Backplane, error) {
	if s.Backplane == "memory://" {
		return memory.New(), nil
	}
	return redis.New(redis.Options{
		URL: s.Backplane, Cluster: s.Cluster, Logger: logger,
		PasswordFile: s.Redis.PasswordFile, CAFile: s.Redis.CAFile, CertFile: s.Redis.CertFile, KeyFile: s.Redis.KeyFile, ServerName: s.Redis.ServerName,
	})
}

// spareDescriptors are for listeners, Redis, files, and handshakes that are refused.
const spareDescriptors = 256

// descriptorsFor returns for how many of the wanted connections this process may open files. Go has raised the soft limit to
// the hard one already.
func descriptorsFor(wanted int, logger *slog.Logger) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return wanted
	}
	most := max(1, int(min(limit.Cur, 1<<31))-spareDescriptors)
	if most >= wanted {
		return wanted
	}
	logger.Warn("the limit of open files is too low for max-connections: raise it (ulimit -n, LimitNOFILE=) or lower max-connections",
		"open_files", limit.Cur, "max_connections", wanted, "connections_accepted", most)
	return most
}
