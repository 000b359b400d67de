// Command operator turns WebSocketClusters into running gateways and Redis. It owns no logic but reading its flags and starting
// the manager; what it does is in pkg/controller.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/wscluster/wscluster/pkg/version"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ()))
}

func run(arguments, environment []string) int {
	if len(arguments) > 0 && arguments[0] == "check" {
		return runCheck(ctrl.SetupSignalHandler(), arguments[1:], os.Stdout)
	}
	options, err := parseOptions(arguments, environment)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "operator: %v\n", err)
		return exitUsage
	case options.showVersion:
		fmt.Println(version.Version)
		return 0
	}
	if err := start(ctrl.SetupSignalHandler(), options); err != nil {
		fmt.Fprintf(os.Stderr, "operator: %v\n", err)
		return exitFailure
	}
	return 0
}
