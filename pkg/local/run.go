package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/wscluster/wscluster/pkg/gateway"
	"github.com/wscluster/wscluster/pkg/settings"
)

// Options say what to run and how.
type Options struct {
	// File is the path of a WebSocketCluster in YAML or JSON; it is followed while it changes.
	File string
	// Host is the address to listen on; everything but the balancer is on 127.0.0.1 always.
	Host string
	// Port to listen on, or the next free one after it; 0: any free one.
	Port int
	// APIPort is the server API's port, or the next free one after it, on 127.0.0.1; 0: the one after Port.
	APIPort int
	// Demo serves the chat page at /.
	Demo bool
	// Verbose prints what the children log; without it only their warnings.
	Verbose bool
	// Secrets are the folders that stand for the Secrets that the file names, by name.
	Secrets map[string]string
	// Program is the command line that runs one gateway; --config and a file are added to it. It must call Gateway.
	Program []string
	// Out gets a line for each thing that happens.
	Out io.Writer
}

// nextPorts is how many ports after the wanted one are tried.
const nextPorts = 100

// Gateway is the whole process of one gateway, for the program that Options.Program names. See gateway.Main.
func Gateway(args, environ []string, stdout, stderr io.Writer) int {
	return gateway.Main(args, environ, stdout, stderr)
}

// Run runs the cluster until ctx ends, then drains its gateways and returns when they are gone; when hard ends it kills them
// and returns. Its error says why it could not start: what is wrong with the file, one line a fault, or with the machine.
// Children never outlive it, nor the process, whatever ends that.
func Run(ctx, hard context.Context, options Options) error {
	wanted, err := load(options.File, options.Secrets) //nolint:contextcheck // validation waits for nothing that a context could end
	if err != nil {
		return fmt.Errorf("%s: %w", options.File, err)
	}
	folder, err := os.MkdirTemp("", "wsc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	listener, note, err := listen(options.Host, options.Port)
	if err != nil {
		return err
	}
	r := &runner{
		options: options, folder: folder, wanted: wanted, members: map[string]*member{}, inbox: make(chan func()), over: make(chan struct{}),
		report: &report{out: options.Out, now: time.Now}, spawner: newSpawner(), balancer: newBalancer(listener, time.Now),
	}
	defer r.spawner.close()
	api, apiNote, err := listenForAPI(wanted, options.APIPort, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if api != nil {
		r.api = newBalancer(api, time.Now)
	}
	r.report.event("%s: the cluster %s of namespace %s", options.File, wanted.cluster.Name, wanted.cluster.Namespace)
	for _, text := range []string{note, apiNote} {
		if text != "" {
			r.report.event("%s", text)
		}
	}
	r.describe()
	return r.run(hard, ctx.Done())
}

// run starts what the cluster needs, in order, and ends it in the reverse order: drained once leave is closed, killed when ctx ends.
func (r *runner) run(ctx context.Context, leave <-chan struct{}) error {
	defer r.balancer.close()
	if r.api != nil {
		defer r.api.close()
	}
	meet, stopRedis, err := r.startRedis(ctx, r.wanted.cluster)
	if err != nil {
		return err
	}
	defer stopRedis()
	r.meet = meet
	r.balancer.setAffinity(r.wanted.affinity)
	failed := make(chan error, 2)
	go func() { failed <- r.balancer.serve(ctx) }()
	if r.api != nil {
		go func() { failed <- r.api.serve(ctx) }()
	}
	go r.follow(ctx, leave)

	defer close(r.over)
	r.converge(ctx)
	for {
		select {
		case happened := <-r.inbox:
			happened()
			r.converge(ctx)
		case err := <-failed:
			return errors.Join(err, r.leave(ctx))
		case <-leave:
			return r.leave(ctx)
		}
	}
}

// leave closes the door, drains every gateway and waits for them; when ctx ends it kills what is left.
func (r *runner) leave(ctx context.Context) error {
	r.balancer.stopAccepting()
	if r.api != nil {
		r.api.stopAccepting()
	}
	for _, m := range r.members {
		m.leaving = true
		if m.stopProbes != nil {
			m.stopProbes()
		}
		if m.process != nil {
			m.process.terminate()
		}
	}
	r.report.event("draining: no new clients; again Ctrl-C ends at once")
	for _, m := range r.members {
		if m.process == nil {
			continue
		}
		for gone := false; !gone; {
			select {
			case <-m.process.done:
				gone = true
			case <-r.inbox: // old news
			case <-ctx.Done():
				m.process.kill()
				<-m.process.done
				gone = true
			}
		}
	}
	r.report.event("ended")
	return nil
}

// describe says what differs from a run on Kubernetes.
func (r *runner) describe() {
	for _, field := range r.wanted.notHere() {
		r.report.event("note: %s has no meaning without Kubernetes", field)
	}
	r.report.event("note: gateways drain without a delay here, since the balancer knows at once")
	if address := net.ParseIP(r.options.Host); (address == nil || !address.IsLoopback()) && r.options.Host != "localhost" {
		who := "can connect"
		if r.wanted.settings.Auth.Type == settings.AuthTrusted {
			who = "can connect as any user they name (auth.type TrustedUserID)"
		}
		r.report.event("note: those who reach %s %s; --host 127.0.0.1 is for this machine only", r.options.Host, who)
	}
}

// listen takes the port, or the next free one, and says so.
func listen(host string, port int) (net.Listener, string, error) {
	for candidate := port; ; candidate++ {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(candidate)))
		switch {
		case err == nil && candidate == port:
			return listener, "", nil
		case err == nil:
			return listener, fmt.Sprintf("port %d is taken; using %d", port, candidate), nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, "", fmt.Errorf("cannot listen on %s: %w; choose others with --host and --port", net.JoinHostPort(host, strconv.Itoa(candidate)), err)
		case candidate >= min(port+nextPorts, 65535):
			return nil, "", fmt.Errorf("the ports %d to %d of %s are all taken; choose another with --port", port, candidate, host)
		}
	}
}
