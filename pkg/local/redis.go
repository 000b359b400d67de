package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wscluster/wscluster/api/v1alpha1"
	"github.com/wscluster/wscluster/pkg/settings"
)

const (
	redisStartTimeout = 15 * time.Second
	// redisStopTimeout is for one that hangs; an orderly end takes milliseconds.
	redisStopTimeout = 5 * time.Second
	// storageRoot holds what outlives the command, in the working folder, where a file asks for storage.
	storageRoot = ".wsc"
)

// backplane is where the gateways meet: a URL, and the files with the secrets for it.
type backplane struct {
	url   string
	files settings.RedisAccess
}

// startRedis provides the Redis that the cluster asks for and returns where it is and how to end it. It blocks until Redis
// answers. A redis-server that dies is started again.
func (r *runner) startRedis(ctx context.Context, cluster *v1alpha1.WebSocketCluster) (backplane, func(), error) {
	spec := cluster.Spec.Redis
	if spec.External != nil {
		where, err := externalBackplane(spec.External, r.options.Secrets)
		r.report.event("Redis: somebody else's, at %s", strings.Join(spec.External.Addresses, ", "))
		return where, func() {}, err
	}
	password := rand.Text()
	passwordFile := filepath.Join(r.folder, "redis-password")
	if err := os.WriteFile(passwordFile, []byte(password), 0o600); err != nil {
		return backplane{}, nil, err
	}
	at := func(address string) backplane {
		return backplane{"redis://" + address + "/0", settings.RedisAccess{PasswordFile: passwordFile}}
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		embedded, err := startEmbedded(password)
		if err != nil {
			return backplane{}, nil, err
		}
		note := ""
		if spec.Standalone != nil && spec.Standalone.Storage != nil {
			note = "; storage needs redis-server, so nothing is kept"
		}
		r.report.event("Redis: embedded in this process at %s, as no redis-server is installed%s", embedded.Addr(), note)
		return at(embedded.Addr()), embedded.Close, nil
	}
	server := &redisServer{runner: r, program: program, password: password, standalone: spec.Standalone, cluster: cluster}
	if err := server.start(ctx); err != nil {
		return backplane{}, nil, err
	}
	return at(server.address), server.stop, nil
}

// startEmbedded runs the Redis that is part of this program. It keeps everything in memory and bounds nothing.
func startEmbedded(password string) (*miniredis.Miniredis, error) {
	embedded := miniredis.NewMiniRedis()
	embedded.ClockTTL(true)
	embedded.RequireAuth(password)
	if err := embedded.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	return embedded, nil
}

// redisServer is a redis-server child, always at the same address.
type redisServer struct {
	runner            *runner
	program, password string
	standalone        *v1alpha1.StandaloneRedis
	cluster           *v1alpha1.WebSocketCluster

	address, config, keeps string
	// current is the running process; ended is closed when nobody watches it any more. Both are the watching goroutine's once it runs.
	current  *process
	stopping chan struct{}
	ended    chan struct{}
}

func (s *redisServer) start(ctx context.Context) error {
	port, err := freePort(0)
	if err != nil {
		return err
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", port)
	if err := s.writeConfig(port); err != nil {
		return err
	}
	if err := s.launch(ctx); err != nil {
		return err
	}
	s.runner.report.event("Redis: redis-server at %s, pid %d, %s", s.address, s.current.pid(), s.keeps)
	s.stopping, s.ended = make(chan struct{}), make(chan struct{})
	go s.watch(ctx)
	return nil
}

// writeConfig keeps the password off the command line, where every user of the machine could read it.
func (s *redisServer) writeConfig(port int) error {
	folder, appendOnly := s.runner.folder, "no"
	s.keeps = "memory only"
	maxMemory := int64(256 << 20)
	if s.standalone != nil {
		if !s.standalone.MaxMemory.IsZero() {
			maxMemory = s.standalone.MaxMemory.Value()
		}
		if s.standalone.Storage != nil {
			var err error
			if folder, err = filepath.Abs(filepath.Join(storageFolder(s.cluster), "redis")); err != nil {
				return err
			}
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return err
			}
			appendOnly, s.keeps = "yes", "kept in "+folder
		}
	}
	s.config = filepath.Join(s.runner.folder, "redis.conf")
	return os.WriteFile(s.config, fmt.Appendf(nil, `bind 127.0.0.1
port %d
requirepass %s
dir "%s"
maxmemory %d
maxmemory-policy noeviction
save ""
appendonly %s
appendfsync everysec
tcp-keepalive 30
`, port, s.password, strings.ReplaceAll(folder, `"`, `\"`), maxMemory, appendOnly), 0o600)
}

// launch starts the process and waits until it answers.
func (s *redisServer) launch(ctx context.Context) error {
	var last string
	p, err := s.runner.spawner.start(exec.Command(s.program, s.config), func(line string) {
		last = line
		if s.runner.options.Verbose {
			s.runner.report.child("redis", line)
		}
	})
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.current = p
	client := redis.NewClient(&redis.Options{Addr: s.address, Password: s.password, MaxRetries: -1, DisableIdentity: true})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, redisStartTimeout)
	defer cancel()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-p.done:
			return fmt.Errorf("redis-server %s: %s", p.ending(), last)
		case <-ctx.Done():
			p.kill()
			return errors.New("redis-server did not answer in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (s *redisServer) watch(ctx context.Context) {
	defer close(s.ended)
	var pause restartPause
	for {
		select {
		case <-s.stopping:
			s.current.terminate()
			select {
			case <-s.current.done:
			case <-time.After(redisStopTimeout):
				s.current.kill()
				<-s.current.done
			}
			return
		case <-s.current.done:
		}
		wait := pause.next(time.Now())
		s.runner.report.event("Redis: %s; starting it again in %s, publishes are unavailable meanwhile", s.current.ending(), wait)
		select {
		case <-s.stopping:
			return
		case <-time.After(wait):
		}
		if err := s.launch(ctx); err != nil {
			s.runner.report.event("Redis: %v", err)
			continue
		}
		s.runner.report.event("Redis: back at %s, pid %d, %s", s.address, s.current.pid(), s.keeps)
	}
}

func (s *redisServer) stop() {
	close(s.stopping)
	<-s.ended
}

// restartPause is the time before something that died is started again: longer each time, short again after a quiet minute.
type restartPause struct {
	last  time.Time
	pause time.Duration
}

const (
	firstRestartPause = 250 * time.Millisecond
	maxRestartPause   = 10 * time.Second
	quietTime         = time.Minute
)

func (p *restartPause) next(now time.Time) time.Duration {
	if p.pause == 0 || now.Sub(p.last) > quietTime {
		p.pause = firstRestartPause
	} else {
		p.pause = min(2*p.pause, maxRestartPause)
	}
	p.last = now
	return p.pause
}

// freePort finds a port of 127.0.0.1 that is free now: the wanted one if it is, any other if not.
func freePort(wanted int) (int, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", wanted))
	if err != nil {
		if wanted != 0 {
			return freePort(0)
		}
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
