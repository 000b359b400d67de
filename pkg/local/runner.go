package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wscluster/wscluster/pkg/settings"
)

// countTimeout bounds how long a scale-down waits for a gateway that does not answer.
const countTimeout = time.Second

// runner is a running local cluster. Everything below inbox belongs to the goroutine of run, which is told of everything that
// happens as a function to call.
type runner struct {
	// Fixed at start.
	options  Options
	folder   string
	meet     backplane
	report   *report
	spawner  *spawner
	balancer *balancer
	api      *balancer // of the server API; nil: it is off
	inbox    chan func()
	over     chan struct{} // closed when nobody reads inbox any more

	wanted    *desired
	members   map[string]*member
	made      int  // how many gateways have been made, for their names
	announced bool // that all is as wanted
	welcomed  bool // the addresses have been printed
}

// post hands over what happened. It blocks until the loop takes it, and does nothing once that is over.
func (r *runner) post(happened func()) {
	select {
	case r.inbox <- happened:
	case <-r.over:
	}
}

// converge does the next steps towards what is wanted. Here and below, ctx ends when everything has to end at once.
func (r *runner) converge(ctx context.Context) {
	views := make([]memberView, 0, len(r.members))
	for _, m := range r.members {
		views = append(views, memberView{
			name: m.name, current: m.restartHash == r.wanted.restartHash, ready: m.ready, leaving: m.leaving,
			connections: m.connections, number: m.number,
		})
	}
	start, drain := next(r.wanted.replicas, views)
	for range start {
		r.add(ctx)
	}
	for _, name := range drain {
		r.drain(r.members[name])
	}
	r.announce()
}

// add makes a gateway and starts it.
func (r *runner) add(ctx context.Context) {
	r.made++
	m := &member{
		name: fmt.Sprintf("%s-gateway-%d", r.wanted.cluster.Name, r.made), number: r.made, restartHash: r.wanted.restartHash,
		stopProbes: func() {},
	}
	m.file = memberFile(r.folder, m.name)
	r.members[m.name] = m
	r.launch(ctx, m)
}

// launch starts the member's process, on the ports it had before if they are still free.
func (r *runner) launch(ctx context.Context, m *member) {
	r.announced = false
	m.generation++
	err := func() (err error) {
		if m.publicPort, err = freePort(m.publicPort); err != nil {
			return err
		}
		if m.opsPort, err = freePort(m.opsPort); err != nil {
			return err
		}
		if r.api != nil {
			if m.apiPort, err = freePort(m.apiPort); err != nil {
				return err
			}
		}
		if r.wanted.makesKey {
			if err := ensureKey(r.wanted.settings.APIKeyFile); err != nil {
				return err
			}
		}
		if err := m.write(r.settingsOf(m)); err != nil {
			return err
		}
		m.process, err = r.spawner.start(gatewayCommand(r.options.Program, m.file, r.wanted.environment), r.log(m.name))
		return err
	}()
	if err != nil {
		r.again(ctx, m, err.Error())
		return
	}
	r.report.event("%s: started, pid %d", m.name, m.process.pid())
	probes, cancel := context.WithCancel(ctx)
	m.stopProbes = cancel
	generation, process := m.generation, m.process
	go probe(probes, m.opsPort, func(found news) {
		r.post(func() {
			if m.generation == generation && m.process != nil {
				r.heard(m, found)
			}
		})
	})
	go func() {
		<-process.done
		r.post(func() { r.ended(ctx, m, process) })
	}()
}

func (r *runner) settingsOf(m *member) settings.Settings {
	level := "warn"
	if r.options.Verbose {
		level = "info"
	}
	return m.settings(r.wanted.settings, r.meet, r.options.Demo, level)
}

// log returns what prints a member's lines.
func (r *runner) log(name string) func(string) {
	return func(line string) {
		if r.options.Verbose {
			r.report.child(name, line)
		} else {
			r.report.childOnce(name, line)
		}
	}
}

// heard takes in what a probe found.
func (r *runner) heard(m *member, found news) {
	m.connections = found.connections
	if m.leaving || found.ready == m.ready {
		return
	}
	m.ready = found.ready
	r.announced = false
	if m.ready {
		r.balancer.ready(m.name, m.address())
		r.apiReady(m, true)
		r.report.event("%s: ready at http://%s", m.name, m.address())
		return
	}
	r.balancer.unready(m.name)
	r.apiReady(m, false)
	r.report.event("%s: not ready: %s", m.name, found.why)
}

// drain takes a gateway away from new clients first, and then asks it to send the others elsewhere and to end.
func (r *runner) drain(m *member) {
	r.announced = false
	m.leaving, m.ready = true, false
	r.balancer.unready(m.name)
	r.apiReady(m, false)
	if m.process == nil {
		r.report.event("%s: removed", m.name)
		delete(r.members, m.name)
		return
	}
	r.report.event("%s: draining, %s", m.name, counted(m.connections, "connection"))
	m.process.terminate()
}

// ended takes in the end of a process: the expected one of a gateway that was drained, or one that has to be made good.
func (r *runner) ended(ctx context.Context, m *member, process *process) {
	if m.process != process {
		return
	}
	m.stopProbes()
	m.process, m.ready = nil, false
	r.balancer.unready(m.name)
	r.apiReady(m, false)
	if m.leaving {
		r.report.event("%s: drained", m.name)
		delete(r.members, m.name)
		return
	}
	r.again(ctx, m, process.ending())
}

// again starts a member anew after a pause.
func (r *runner) again(ctx context.Context, m *member, why string) {
	r.announced = false
	wait := m.pause.next(time.Now())
	r.report.event("%s: %s; starting it again in %s", m.name, why, wait)
	time.AfterFunc(wait, func() {
		r.post(func() {
			if r.members[m.name] == m && m.process == nil && !m.leaving {
				r.launch(ctx, m)
			}
		})
	})
}

// edited takes in a changed file. A file that cannot be used changes nothing.
func (r *runner) edited(ctx context.Context, now *desired, err error) {
	var changes []string
	if err == nil {
		changes, err = differences(r.wanted, now)
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			r.report.event("%s: %s", r.options.File, line)
		}
		r.report.event("what runs stays as it is")
		return
	}
	if now.replicas < r.wanted.replicas {
		r.count(ctx)
	}
	r.wanted = now
	if len(changes) == 0 {
		return
	}
	r.announced = false
	r.report.event("%s changed: %s", r.options.File, strings.Join(changes, "; "))
	r.balancer.setAffinity(now.affinity)
	for _, m := range r.members {
		if m.restartHash == now.restartHash && !m.leaving {
			if err := m.write(r.settingsOf(m)); err != nil {
				r.report.event("%s: its settings file could not be written: %v", m.name, err)
			}
		}
	}
}

// count asks every gateway for its connections, so that a scale-down does not choose by what the last probes saw.
func (r *runner) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range r.members {
		if m.ready {
			all.Go(func() {
				if found, err := ask(ctx, http.DefaultClient, m.opsPort); err == nil {
					m.connections = found.connections
				}
			})
		}
	}
	all.Wait()
}

// announce says once when everything is as wanted.
func (r *runner) announce() {
	if r.announced || len(r.members) != r.wanted.replicas {
		return
	}
	for _, m := range r.members {
		if !m.ready || m.restartHash != r.wanted.restartHash {
			return
		}
	}
	r.announced = true
	switch {
	case r.wanted.replicas == 0:
		r.report.event("suspended: 0 replicas")
	case r.welcomed:
		r.report.event("all is as wanted: %s ready", counted(r.wanted.replicas, "gateway"))
	default:
		r.welcomed = true
		r.report.text(r.welcome())
	}
}

// welcome tells a person where to go.
func (r *runner) welcome() string {
	port := r.balancer.listener.Addr().(*net.TCPAddr).Port
	var b strings.Builder
	query, secure := "", ""
	if r.wanted.settings.TLSCertFile != "" {
		secure = "s"
	}
	if r.wanted.settings.Auth.Type == settings.AuthTrusted {
		query = "?user_id=alice"
	}
	fmt.Fprintf(&b, "\n  %s is up: %s, affinity %s\n\n", r.wanted.cluster.Name, counted(r.wanted.replicas, "gateway"), describeAffinity(r.wanted.affinity))
	for _, host := range reachable(r.options.Host) {
		address := net.JoinHostPort(host, fmt.Sprint(port))
		if r.options.Demo {
			fmt.Fprintf(&b, "  Browser   http%s://%s\n", secure, address)
		}
		fmt.Fprintf(&b, "  Client    ws%s://%s/ws%s\n", secure, address, query)
	}
	if r.api != nil {
		fmt.Fprintf(&b, "  Backend   http://%s/v1  (server API; the key is in %s)\n", r.api.listener.Addr(), shortened(r.wanted.settings.APIKeyFile))
	}
	b.WriteString("\n  Each gateway by itself, to be on two of them at once:\n")
	names := make([]*member, 0, len(r.members))
	for _, m := range r.members {
		names = append(names, m)
	}
	slices.SortFunc(names, func(a, b *member) int { return a.number - b.number })
	for _, m := range names {
		fmt.Fprintf(&b, "            http%s://%s  %s\n", secure, m.address(), m.name)
	}
	fmt.Fprintf(&b, "\n  Edit %s to scale or to change settings. Ctrl-C drains and ends, twice ends at once.\n\n", r.options.File)
	return b.String()
}

// shortened names a file from the working folder if it is below it.
func shortened(file string) string {
	here, err := os.Getwd()
	if err != nil {
		return file
	}
	if short, err := filepath.Rel(here, file); err == nil && filepath.IsLocal(short) {
		return short
	}
	return file
}

// reachable lists the addresses that clients can use for host.
func reachable(host string) []string {
	if address := net.ParseIP(host); host != "" && (address == nil || !address.IsUnspecified()) {
		return []string{host}
	}
	hosts := []string{"127.0.0.1"}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return hosts
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			hosts = append(hosts, network.IP.String())
		}
	}
	return hosts
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
