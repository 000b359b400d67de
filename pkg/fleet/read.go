package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// maxAtOnce bounds the pods that are asked at the same time; an answer is a few kilobytes and takes a millisecond.
	maxAtOnce = 32
	// podPatience is how long one pod may take to answer: long enough for one whose CPU is throttled.
	podPatience = 3 * time.Second
	// readPatience bounds the reading of all pods, so that a network that swallows packets cannot hold the reader up for long.
	readPatience = 15 * time.Second
	// maxAnswer bounds what a pod may answer, in bytes: some hundred for each shard of Redis, of which there are 1,000 at most.
	maxAnswer = 1 << 20
)

// Pod is where a gateway's ops port is.
type Pod struct {
	// Name is the pod's.
	Name string
	// Address is an IP address.
	Address string
}

// Reader asks gateway pods for their load. It is safe for concurrent use.
type Reader struct {
	client *http.Client
	port   string
}

// NewReader returns a reader that asks at the given port.
func NewReader(port int) *Reader {
	return &Reader{
		port: strconv.Itoa(port),
		// Pods come and go, and each is asked every few seconds: a connection to each of a thousand would be kept for little.
		client: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Read asks every pod at /statusz with the ops token and returns the answers in the order of the pods. It blocks for 15 s at most,
// less when ctx ends; who has not answered by then has an Err.
func (r *Reader) Read(ctx context.Context, pods []Pod, token string) []Load {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	loads := make([]Load, len(pods))
	places := make(chan struct{}, maxAtOnce)
	var all sync.WaitGroup
	for i, pod := range pods {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			loads[i] = r.readOne(ctx, pod, token)
		})
	}
	all.Wait()
	return loads
}

func (r *Reader) readOne(ctx context.Context, pod Pod, token string) Load {
	ctx, cancel := context.WithTimeout(ctx, podPatience)
	defer cancel()
	load, err := r.ask(ctx, pod, token)
	if err != nil {
		return Load{Pod: pod.Name, Err: err}
	}
	load.Pod = pod.Name
	return load
}

func (r *Reader) ask(ctx context.Context, pod Pod, token string) (Load, error) {
	address := "http://" + net.JoinHostPort(pod.Address, r.port) + "/statusz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Load{}, fmt.Errorf("ask at %q: %w", pod.Address, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := r.client.Do(request)
	if err != nil {
		return Load{}, reason(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Load{}, fmt.Errorf("/statusz answers %d", response.StatusCode)
	}
	var load Load
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&load); err != nil {
		return Load{}, fmt.Errorf("/statusz answers something else than a status: %w", err)
	}
	return load, nil
}

// errNoAnswer stands for every way in which no answer comes: the texts of the system have ports in them that differ each time.
var errNoAnswer = errors.New("no answer within " + podPatience.String())

// reason makes an error of the network say the same each time.
func reason(err error) error {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, context.Canceled) {
		return errNoAnswer
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("cannot %s: %w", failed.Op, failed.Err)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}
