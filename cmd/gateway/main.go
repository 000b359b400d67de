// Command gateway is the process that WebSocket clients connect to. docs/configuration.md lists its flags.
package main

import (
	"os"

	"github.com/wscluster/wscluster/pkg/gateway"
)

func main() {
	os.Exit(gateway.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
