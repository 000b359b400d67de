package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/sizing"
)

func newSize() *cobra.Command {
	load := sizing.DefaultLoad()
	asJSON := false
	command := &cobra.Command{
		Use:   "size --connections N --messages-per-second M",
		Short: "Estimate how big a cluster must be",
		Long: `Size computes pods, cores, memory and Redis shards from what one pod and one Redis were measured to need (docs/scale.md has the
formula and the figures). Far above the measured sizes, 18,000 connections a pod and 2,000 messages a second, it extrapolates.`,
		Example: `  wsc size --connections 100000 --messages-per-second 2000
  wsc size --connections 1000000 --messages-per-second 10000 --members-per-room 50 --connects-per-second 2000`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			figures := sizing.Measured()
			if load.Connections == 0 {
				return usageError(errors.New("say how many: wsc size --connections 100000 --messages-per-second 2000"))
			}
			cluster, err := sizing.Estimate(load, figures)
			if err != nil {
				return usageError(err)
			}
			if asJSON {
				encoder := json.NewEncoder(command.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(cluster)
			}
			return writeSize(command.OutOrStdout(), load, cluster)
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.Float64Var(&load.Connections, "connections", 0, "connections that are open at once")
	flags.Float64Var(&load.MessagesPerSecond, "messages-per-second", 0, "messages that clients publish, all together")
	flags.Float64Var(&load.MembersPerRoom, "members-per-room", load.MembersPerRoom, "connections that get a message, on average")
	flags.Float64Var(&load.RoomsPerConnection, "rooms-per-connection", load.RoomsPerConnection, "rooms that a connection is in")
	flags.Float64Var(&load.ConnectsPerSecond, "connects-per-second", 0, "new connections a second in the busiest minute")
	flags.Float64Var(&load.ConnectionsPerPod, "connections-per-pod", load.ConnectionsPerPod, "connections that one pod takes at most (limits.maxConnections)")
	flags.Float64Var(&load.CoresPerPod, "cores-per-pod", load.CoresPerPod, "CPU limit of one pod")
	flags.Float64Var(&load.Utilization, "utilization", load.Utilization, "share of a core to plan with; the rest is for peaks")
	flags.Float64Var(&load.MinPods, "min-pods", load.MinPods, "pods in any case")
	flags.BoolVar(&asJSON, "json", false, "print the estimate as JSON")
	return command
}

func writeSize(w io.Writer, load sizing.Load, c sizing.Cluster) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "Load\t%s connections, %s messages/s, each to %s members: %s deliveries/s\n", count(load.Connections), count(load.MessagesPerSecond), count(load.MembersPerRoom), count(c.Deliveries))
	fmt.Fprintf(t, "Gateway pods\t%s (decided by the %s), each with up to %s connections\n", count(c.Pods), decided(c.Bound), count(math.Ceil(load.Connections/c.Pods)))
	fmt.Fprintf(t, "CPU\t%s cores in use, of %s\n", count(c.Cores), count(c.Pods*load.CoresPerPod))
	fmt.Fprintf(t, "Memory limit\t%s a pod (with one pod missing, and as much again for bursts)\n", inBytes(c.BytesPerPod))
	fmt.Fprintf(t, "Spread\ta message goes to %s pods on average\n", count(c.PodsPerMessage))
	redis := "one Redis"
	if c.RedisShards > 1 {
		redis = fmt.Sprintf("a Redis Cluster of %s shards", count(c.RedisShards))
	}
	fmt.Fprintf(t, "Redis\t%s: %s cores in use, %s for subscriptions (histories come on top)\n", redis, count(c.RedisCores), inBytes(c.RedisBytes))
	if load.Connections > 18_000 || load.MessagesPerSecond > 2_000 {
		fmt.Fprintln(t, "\tExtrapolated: measured were 18,000 connections on a pod and 2,000 messages a second (docs/scale.md).")
	}
	return t.Flush()
}

func decided(bound string) string {
	switch bound {
	case "minimum":
		return "least number of pods"
	case "cores":
		return "CPU"
	}
	return bound
}

// count writes a number with thousands apart, and small ones with two digits.
func count(x float64) string {
	if x < 100 && x != math.Trunc(x) {
		return fmt.Sprintf("%.2g", x)
	}
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// inBytes writes an amount of memory.
func inBytes(x float64) string {
	switch {
	case x >= 1<<30:
		return fmt.Sprintf("%.1f GiB", x/(1<<30))
	case x >= 1<<20:
		return fmt.Sprintf("%.0f MiB", x/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", x/(1<<10))
}
