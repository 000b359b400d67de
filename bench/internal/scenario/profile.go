package scenario

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wscluster/wscluster/bench/internal/contestant"
)

// profile takes a CPU profile of one of our gateways for d, if they are asked for. The returned function waits for them.
func (e *Env) profile(c *contestant.Cluster, name string, d time.Duration) (wait func()) {
	if e.Profile == "" || len(c.Ops) == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// One is enough: the nodes do the same.
		if err := fetchProfile(c.Ops[0], filepath.Join(e.Profile, name+".pprof"), d); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}()
	return func() { <-done }
}

func fetchProfile(ops, file string, d time.Duration) error {
	response, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", ops, max(1, int(d.Seconds()))))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, response.Body)
	return err
}
