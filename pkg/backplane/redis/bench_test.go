package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/internal/redistest"
)

// discard is a sink and a confirmation that only counts.
type discard struct {
	delivered, confirmed, failed atomic.Int64
	slots                        chan struct{}
	all                          chan struct{}
	want                         int64
}

func (d *discard) Deliver(*backplane.Message) {
	if d.delivered.Add(1) == d.want {
		close(d.all)
	}
}
func (d *discard) Subscribed(backplane.Target) { d.confirmed.Add(1) }
func (d *discard) Interrupted()                {}

func (d *discard) Published(_ backplane.Receipt, err error) {
	if err != nil {
		d.failed.Add(1)
	}
	<-d.slots
}

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cpuOf is the processor time of another process so far, to 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("no /proc: ", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func closeBench(b *testing.B, p *Backplane) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		b.Error(err)
	}
}

// BenchmarkPublish measures a publication of 128 bytes to 100 rooms that nobody listens to, with a number of them
// unconfirmed at any time: processor time of this process and of Redis for each.
func BenchmarkPublish(b *testing.B) {
	server := redistest.Start(b)
	for _, publishers := range []int{1, 2} {
		for _, outstanding := range []int{1, 8, 64, 512, 4096} {
			b.Run(fmt.Sprintf("publishers=%d/outstanding=%d", publishers, outstanding), func(b *testing.B) {
				p := open(b, Options{URL: server.URL(), Publishers: publishers, Logger: quietLogger()})
				d := &discard{slots: make(chan struct{}, outstanding)}
				p.Start(d)
				defer closeBench(b, p)
				awaitUp(b, p)
				messages := make([]*backplane.Message, 100)
				for i := range messages {
					messages[i] = &backplane.Message{Target: room("room " + strconv.Itoa(i)), Body: make([]byte, 128)}
				}
				b.ReportAllocs()
				cpu, redisCPU := ownCPU(), cpuOf(b, server.PID())
				b.ResetTimer()
				for i := range b.N {
					d.slots <- struct{}{}
					p.Publish(messages[i%len(messages)], d)
				}
				for range outstanding {
					d.slots <- struct{}{}
				}
				b.StopTimer()
				b.ReportMetric(float64((ownCPU()-cpu).Nanoseconds())/float64(b.N), "own-cpu-ns/op")
				b.ReportMetric(float64((cpuOf(b, server.PID())-redisCPU).Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
				b.ReportMetric(float64(b.N)/float64(p.Counters().Pipelines), "batch")
				if d.failed.Load() > 0 {
					b.Errorf("%d publications failed", d.failed.Load())
				}
			})
		}
	}
}

// BenchmarkPublishKept is BenchmarkPublish for messages that are kept, 100 a room, and for those with an idempotency key.
func BenchmarkPublishKept(b *testing.B) {
	server := redistest.Start(b)
	for _, c := range []struct {
		name string
		keep *backplane.Keep
		once bool
	}{
		{"plain", nil, false},
		{"kept", &backplane.Keep{Size: 100, TTL: 10 * time.Minute}, false},
		{"kept and bounded in bytes", &backplane.Keep{Size: 100, TTL: 10 * time.Minute, MaxBytes: 10_000}, false},
		{"kept with a key", &backplane.Keep{Size: 100, TTL: 10 * time.Minute}, true},
		{"with a key", nil, true},
	} {
		for _, outstanding := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/outstanding=%d", c.name, outstanding), func(b *testing.B) {
				p := open(b, Options{URL: server.URL(), Logger: quietLogger()})
				d := &discard{slots: make(chan struct{}, outstanding)}
				p.Start(d)
				defer closeBench(b, p)
				awaitUp(b, p)
				m := &backplane.Message{Body: make([]byte, 128), Keep: c.keep, ID: make([]byte, 20), Data: make([]byte, 64), Publisher: "alice"}
				b.ReportAllocs()
				cpu, redisCPU := ownCPU(), cpuOf(b, server.PID())
				b.ResetTimer()
				for i := range b.N {
					d.slots <- struct{}{}
					m.Target = room("room " + strconv.Itoa(i%100))
					if c.once {
						m.IdempotencyKey = fmt.Sprint(b.N, " ", i)
					}
					p.Publish(m, d)
				}
				for range outstanding {
					d.slots <- struct{}{}
				}
				b.StopTimer()
				b.ReportMetric(float64((ownCPU()-cpu).Nanoseconds())/float64(b.N), "own-cpu-ns/op")
				b.ReportMetric(float64((cpuOf(b, server.PID())-redisCPU).Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
				if d.failed.Load() > 0 {
					b.Errorf("%d publications failed", d.failed.Load())
				}
			})
		}
	}
}

// BenchmarkReceive measures the way of a message of 128 bytes from Redis to the sink, with the messages sent by a process of
// the benchmark's own making, so that only receiving counts.
func BenchmarkReceive(b *testing.B) {
	// Redis would hang up on a subscriber that it outruns by 32 MB.
	server := redistest.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	for _, rooms := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			p := open(b, Options{URL: server.URL(), Logger: quietLogger()})
			d := &discard{all: make(chan struct{}), want: int64(b.N)}
			p.Start(d)
			defer closeBench(b, p)
			awaitUp(b, p)
			for i := range rooms {
				p.Subscribe(room(strconv.Itoa(i)))
			}
			for d.confirmed.Load() < int64(rooms) {
				time.Sleep(time.Millisecond)
			}
			feed := feeder(b, p, rooms)
			b.ReportAllocs()
			cpu := ownCPU()
			b.ResetTimer()
			feed(b.N)
			<-d.all
			b.StopTimer()
			b.ReportMetric(float64((ownCPU()-cpu).Nanoseconds())/float64(b.N), "own-cpu-ns/op")
		})
	}
}

// feeder returns a function that has Redis itself publish n messages from a Lua script, so that this process does nothing but
// receive.
func feeder(b *testing.B, p *Backplane, rooms int) func(n int) {
	script := `for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
		redis.call('PUBLISH', 'test:{r:' .. (i % tonumber(ARGV[3])) .. '}:ch', ARGV[4]) end`
	l := p.dialer.open()
	b.Cleanup(l.close)
	body := string(appendEnvelope(nil, "", make([]byte, 128)))
	return func(n int) {
		const chunk = 10_000
		for from := 0; from < n; from += chunk {
			if err := l.client.Eval(b.Context(), script, nil, from, min(from+chunk, n)-1, rooms, body).Err(); err != nil && err.Error() != "redis: nil" {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkResubscribe measures the time from a cut of all links until 10,000 rooms are subscribed again.
func BenchmarkResubscribe(b *testing.B) {
	const rooms = 10_000
	server := redistest.Start(b)
	// Cuts follow each other faster than in life: the pause that grows with it is not what is measured.
	p := open(b, Options{URL: server.URL(), Logger: quietLogger(), Timing: Timing{BackoffMax: 20 * time.Millisecond}})
	d := &discard{}
	p.Start(d)
	defer closeBench(b, p)
	awaitUp(b, p)
	for i := range rooms {
		p.Subscribe(room(strconv.Itoa(i)))
	}
	confirmed := int64(rooms)
	wait := func() {
		for d.confirmed.Load() < confirmed {
			time.Sleep(100 * time.Microsecond)
		}
	}
	wait()
	admin := p.dialer.open()
	defer admin.close()
	cpu := ownCPU()
	for b.Loop() {
		if err := admin.client.Do(b.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			b.Fatal(err)
		}
		confirmed += rooms
		wait()
	}
	b.ReportMetric(float64((ownCPU()-cpu).Microseconds())/float64(b.N), "own-cpu-us/op")
}
