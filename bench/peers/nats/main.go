// Command nats is the NATS server with its WebSocket listener. Two of them make a cluster by a route; NATS needs no Redis.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address of the WebSocket listener")
	cluster := flag.String("cluster", "", "address of the cluster's listener; empty: alone")
	route := flag.String("route", "", "address of another server's cluster listener")
	flag.Parse()
	if err := run(*listen, *cluster, *route); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen, cluster, route string) error {
	host, port, err := split(listen)
	if err != nil {
		return err
	}
	options := &server.Options{
		ServerName: "bench-" + strconv.Itoa(port), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxConn: 64 << 10,
		Websocket: server.WebsocketOpts{Host: host, Port: port, NoTLS: true},
	}
	if cluster != "" {
		clusterHost, clusterPort, err := split(cluster)
		if err != nil {
			return err
		}
		options.Cluster = server.ClusterOpts{Name: "bench", Host: clusterHost, Port: clusterPort}
	}
	if route != "" {
		options.Routes = []*url.URL{{Scheme: "nats", Host: route}}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("the NATS server did not start in 20 s")
	}
	if route != "" {
		for end := time.Now().Add(20 * time.Second); s.NumRoutes() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				return fmt.Errorf("no route to %s in 20 s", route)
			}
		}
	}
	fmt.Println("listening", listen)
	s.WaitForShutdown()
	return nil
}

func split(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(text)
	return host, port, err
}
