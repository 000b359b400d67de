package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wscluster/wscluster/pkg/settings"
)

const (
	probeInterval = 200 * time.Millisecond
	probeTimeout  = 2 * time.Second
	// probeFailures without an answer, one after the other, make a gateway unready; an answer that says so does at once.
	probeFailures = 3
)

// member is one gateway: a name, its addresses, and a process that is started again when it dies. Its fields are the runner's loop's.
type member struct {
	name   string
	number int
	// desired is what it was started with; a running gateway takes over the rest from its changed file.
	restartHash string
	publicPort  int
	opsPort     int
	apiPort     int // 0: the server API is off
	file        string

	process     *process
	ready       bool
	leaving     bool
	connections int
	pause       restartPause
	// generation counts its processes, so that news of an old one is known as such.
	generation int
	stopProbes context.CancelFunc
}

func (m *member) address() string { return loopback(m.publicPort) }

// settings are the shared ones with what is this gateway's own.
func (m *member) settings(shared settings.Settings, meet backplane, demo bool, logLevel string) settings.Settings {
	s := shared
	s.Listen = m.address()
	s.APIListen = ""
	if m.apiPort != 0 {
		s.APIListen = loopback(m.apiPort)
	}
	s.OpsListen = loopback(m.opsPort)
	s.Backplane, s.Redis = meet.url, meet.files
	s.Node = m.name
	s.Demo = demo
	s.LogLevel = logLevel
	return s
}

// write puts the settings into the member's file in one step, so that a gateway never reads half of them.
func (m *member) write(s settings.Settings) error {
	text, err := settings.Marshal(s)
	if err != nil {
		return err
	}
	temporary := m.file + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, m.file)
}

// gatewayCommand runs this program in its gateway form. The environment's WSC_ variables stay here: they would beat the file.
func gatewayCommand(program []string, file string, more []string) *exec.Cmd {
	command := exec.Command(program[0], append(program[1:len(program):len(program)], "--config", file)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "WSC_") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, more...)
	return command
}

// news is what a probe found out.
type news struct {
	ready bool
	// why it is not ready.
	why         string
	connections int
}

// probe asks the gateway's ops port until ctx ends and tells every change.
func probe(ctx context.Context, opsPort int, tell func(news)) {
	client := &http.Client{Timeout: probeTimeout}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	last, failures := news{why: "starting"}, 0
	for {
		found, err := ask(ctx, client, opsPort)
		switch {
		case err == nil:
			failures = 0
		case failures+1 < probeFailures:
			failures++
			found = last
		default:
			found = news{why: "it does not answer", connections: last.connections}
		}
		if found != last {
			last = found
			tell(found)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, opsPort int) (news, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/statusz", opsPort), nil)
	if err != nil {
		return news{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return news{}, err
	}
	defer response.Body.Close()
	var status struct {
		Ready       bool   `json:"ready"`
		NotReady    string `json:"notReady"`
		Connections int    `json:"connections"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return news{}, err
	}
	if response.StatusCode != http.StatusOK {
		return news{}, errors.New(response.Status)
	}
	return news{status.Ready, status.NotReady, status.Connections}, nil
}

func memberFile(folder, name string) string { return filepath.Join(folder, name+".yaml") }
