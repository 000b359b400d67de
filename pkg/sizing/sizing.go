// Package sizing estimates how big a cluster must be: from what one pod and one Redis were measured to need, to the pods, cores,
// memory and Redis shards for a load. It is arithmetic, pure and without I/O; docs/scale.md explains it. What is far above the
// measured sizes is extrapolation: nobody has run it.
package sizing

import (
	"fmt"
	"math"
	"time"
)

// Figures are what the pieces cost on one machine: CPU time of a core, memory. They come from `make bench`
// (docs/performance.md); put your own machine's there.
type Figures struct {
	// Write is CPU for one delivery to one connection: nearly all of it is the kernel's, for one small write(2).
	Write time.Duration
	// Receive is CPU of a pod for one message that comes from Redis to a room that has members there.
	Receive time.Duration
	// Publish is CPU of the publisher's pod for one message: read, decode, send to Redis, ack.
	Publish time.Duration
	// Connect is CPU for a handshake, a welcome and a join.
	Connect time.Duration
	// Heartbeat is CPU for one ping and its answer; HeartbeatEvery is the time between two.
	Heartbeat, HeartbeatEvery time.Duration

	// ConnectionBytes is the memory of the process for one idle connection that has joined a room; KernelBytes is that of the
	// kernel for its socket, which counts against a container's limit too.
	ConnectionBytes, KernelBytes float64
	// ProcessBytes is the memory of a gateway without connections.
	ProcessBytes float64

	// RedisPublish is CPU of Redis for one message, RedisForward that for each pod that it goes on to.
	RedisPublish, RedisForward time.Duration
	// RedisSubscription is the CPU of Redis to subscribe and later unsubscribe one channel; RedisSubscriptionBytes its memory.
	RedisSubscription      time.Duration
	RedisSubscriptionBytes float64
}

// Measured returns the figures of docs/performance.md.
func Measured() Figures {
	return Figures{
		Write: 7 * time.Microsecond, Receive: 30 * time.Microsecond, Publish: 70 * time.Microsecond, Connect: 60 * time.Microsecond,
		Heartbeat: 20 * time.Microsecond, HeartbeatEvery: 25 * time.Second,
		ConnectionBytes: 2_800, KernelBytes: 4_500, ProcessBytes: 25e6,
		RedisPublish: 15 * time.Microsecond, RedisForward: 12 * time.Microsecond,
		RedisSubscription: 5 * time.Microsecond, RedisSubscriptionBytes: 300,
	}
}

// Load is what the cluster has to carry.
type Load struct {
	// Connections that are open at once.
	Connections float64
	// MessagesPerSecond that clients publish, all together.
	MessagesPerSecond float64
	// MembersPerRoom is how many connections get a message on average.
	MembersPerRoom float64
	// RoomsPerConnection that a connection is in.
	RoomsPerConnection float64
	// ConnectsPerSecond in the busiest minute: mornings, and the rollout of new pods.
	ConnectsPerSecond float64

	// ConnectionsPerPod and CoresPerPod bound one pod.
	ConnectionsPerPod, CoresPerPod float64
	// Utilization is the share of a core that is planned for; the rest is for peaks and for pods that are missing.
	Utilization float64
	// MinPods that run in any case: two, so that one may be missing.
	MinPods float64
}

// DefaultLoad returns a load whose other fields are usual; Connections and MessagesPerSecond are the caller's.
func DefaultLoad() Load {
	return Load{
		MembersPerRoom: 10, RoomsPerConnection: 1, ConnectionsPerPod: 20_000, CoresPerPod: 2, Utilization: 0.6, MinPods: 2,
	}
}

// Cluster is an estimate.
type Cluster struct {
	Pods float64 `json:"pods"`
	// Cores and Bytes are what the pods use in all, BytesPerPod with the reserve for garbage collection and bursts: the memory
	// limit to set.
	Cores       float64 `json:"cores"`
	Bytes       float64 `json:"bytes"`
	BytesPerPod float64 `json:"bytes_per_pod"`
	// PodsPerMessage is on how many pods a room's members are, on average.
	PodsPerMessage float64 `json:"pods_per_message"`
	Deliveries     float64 `json:"deliveries_per_second"`
	// RedisShards is how many primaries of a Redis Cluster are needed; 1: a single Redis does.
	RedisShards float64 `json:"redis_shards"`
	RedisCores  float64 `json:"redis_cores"`
	RedisBytes  float64 `json:"redis_bytes"`
	// Bound says what decided the number of pods: connections, cores, or the minimum.
	Bound string `json:"bound"`
}

// Limits of what Estimate believes.
const (
	maxConnections = 1e9
	maxMessages    = 1e9
	// memoryReserve multiplies measured memory: garbage that waits for its collection, queues of slow clients.
	memoryReserve = 2
	// maxPods ends the search: beyond it Kubernetes itself is the question.
	maxPods = 1e6
)

func (l *Load) validate() error {
	for _, field := range []struct {
		name            string
		value, min, max float64
	}{
		{"connections", l.Connections, 1, maxConnections},
		{"messages per second", l.MessagesPerSecond, 0, maxMessages},
		{"members per room", l.MembersPerRoom, 1, maxConnections},
		{"rooms per connection", l.RoomsPerConnection, 0, 1000},
		{"connects per second", l.ConnectsPerSecond, 0, maxConnections},
		{"connections per pod", l.ConnectionsPerPod, 1, 1e6},
		{"cores per pod", l.CoresPerPod, 0.1, 256},
		{"utilization", l.Utilization, 0.05, 1},
		{"pods at least", l.MinPods, 1, 1000},
	} {
		if math.IsNaN(field.value) || field.value < field.min || field.value > field.max {
			return fmt.Errorf("%s: %g is out of range, use %g to %g", field.name, field.value, field.min, field.max)
		}
	}
	if l.MembersPerRoom > l.Connections {
		return fmt.Errorf("members per room: %g are more than the %g connections", l.MembersPerRoom, l.Connections)
	}
	return nil
}

// Estimate returns the smallest cluster that carries the load. An error is one sentence about a value out of range.
//
// With more pods a room's members are on more of them, and each of these receives the message: cores depend on pods and pods on
// cores. Both only grow, so counting pods up from the fewest finds the smallest number that is enough.
func Estimate(l Load, f Figures) (Cluster, error) {
	if err := l.validate(); err != nil {
		return Cluster{}, err
	}
	fewest := math.Ceil(l.Connections / l.ConnectionsPerPod)
	bound := "connections"
	if fewest < l.MinPods {
		fewest, bound = l.MinPods, "minimum"
	}
	for pods := fewest; pods <= maxPods; {
		c := at(l, f, pods)
		needed := math.Ceil(c.Cores / (l.CoresPerPod * l.Utilization))
		if needed <= pods {
			if pods > fewest {
				bound = "cores"
			}
			c.Bound = bound
			return c, nil
		}
		pods = needed
	}
	return Cluster{}, fmt.Errorf("more than %g pods would be needed: use more cores per pod, or fewer messages", float64(maxPods))
}

// at returns what the load needs on a given number of pods.
func at(l Load, f Figures, pods float64) Cluster {
	c := Cluster{Pods: pods, Deliveries: l.MessagesPerSecond * l.MembersPerRoom}
	// Members thrown onto pods at random: a pod has none of them with (1 − 1/pods)^members.
	c.PodsPerMessage = pods * (1 - math.Pow(1-1/pods, l.MembersPerRoom))
	c.Cores = l.MessagesPerSecond*f.Publish.Seconds() +
		l.MessagesPerSecond*c.PodsPerMessage*f.Receive.Seconds() +
		c.Deliveries*f.Write.Seconds() +
		l.Connections/f.HeartbeatEvery.Seconds()*f.Heartbeat.Seconds() +
		l.ConnectsPerSecond*f.Connect.Seconds()
	each := f.ConnectionBytes + f.KernelBytes
	c.Bytes = l.Connections*each + pods*f.ProcessBytes
	// A pod that is missing leaves its connections to the others: each must hold the most that it may.
	most := math.Min(l.ConnectionsPerPod, math.Ceil(l.Connections/math.Max(1, pods-1)))
	c.BytesPerPod = (most*each + f.ProcessBytes) * memoryReserve

	c.RedisCores = l.MessagesPerSecond*(f.RedisPublish.Seconds()+c.PodsPerMessage*f.RedisForward.Seconds()) +
		l.ConnectsPerSecond*(1+l.RoomsPerConnection)*f.RedisSubscription.Seconds()
	// Each user has a channel on its pod, each room one on every pod with a member.
	rooms := l.Connections * l.RoomsPerConnection / l.MembersPerRoom
	c.RedisBytes = (l.Connections + rooms*c.PodsPerMessage) * f.RedisSubscriptionBytes
	// Redis runs commands on one core, so a shard is one core.
	c.RedisShards = math.Max(1, math.Ceil(c.RedisCores/l.Utilization))
	return c
}
