package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/local"
)

func newRun() *cobra.Command {
	var options local.Options
	var secrets []string
	command := &cobra.Command{
		Use:   "run -f FILE",
		Short: "Run a WebSocketCluster on this machine, without Kubernetes",
		Long: `Run takes the same file as kubectl apply and runs it here: its gateways as processes, Redis (redis-server if it is installed,
else one that is part of this program), and a balancer in front of them that sends a client address back to the same gateway.

It follows the file: change replicas, limits, rooms or anything else and save. What dies is started again.
Ctrl-C drains the gateways and ends; twice ends at once.`,
		Example: `  wsc run -f config/samples/chat.yaml
  wsc run -f chat.yaml --host 0.0.0.0 --port 9000`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.File == "" {
				return usageError(errors.New("name the file of a WebSocketCluster: wsc run -f config/samples/chat.yaml"))
			}
			if options.Port < 0 || options.Port > 65535 {
				return usageError(fmt.Errorf("--port: %d is no port; give one from 1 to 65535, or 0 for any free one", options.Port))
			}
			if options.APIPort < 0 || options.APIPort > 65535 {
				return usageError(fmt.Errorf("--api-port: %d is no port; give one from 1 to 65535, or 0 for the one after --port", options.APIPort))
			}
			var err error
			if options.Secrets, err = parseSecrets(secrets); err != nil {
				return usageError(err)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			options.Program = []string{self, newGateway().Name()}
			options.Out = command.OutOrStdout()
			return runUntilSignals(command.Context(), options)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&options.File, "file", "f", "", "the WebSocketCluster, YAML or JSON")
	flags.StringVar(&options.Host, "host", "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
	flags.IntVar(&options.Port, "port", 8080, "port to listen on; if it is taken, the next free one")
	flags.IntVar(&options.APIPort, "api-port", 0, "port of the server API, on 127.0.0.1; if it is taken, the next free one; 0: the one after --port")
	flags.BoolVar(&options.Demo, "demo", true, "serve the chat page at /")
	flags.BoolVarP(&options.Verbose, "verbose", "v", false, "print everything that the gateways and Redis log, not only warnings")
	flags.StringArrayVar(&secrets, "secret", nil, "NAME=FOLDER: the folder stands for the Secret of that name, with one file an entry; may be repeated")
	return command
}

// runUntilSignals drains at the first SIGINT or SIGTERM and ends at once at the second.
func runUntilSignals(ctx context.Context, options local.Options) error {
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	hard, end := context.WithCancel(context.Background())
	defer end()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		drain()
		<-signals
		end()
	}()
	return local.Run(ctx, hard, options)
}

func parseSecrets(pairs []string) (map[string]string, error) {
	folders := map[string]string{}
	for _, pair := range pairs {
		name, folder, found := strings.Cut(pair, "=")
		if !found || name == "" || folder == "" {
			return nil, fmt.Errorf("--secret: %q must be NAME=FOLDER, such as redis-auth=./secrets/redis-auth", pair)
		}
		folders[name] = folder
	}
	return folders, nil
}

// newGateway is what run starts as a child: this program as one gateway. It is hidden, since cmd/gateway is the one for people.
func newGateway() *cobra.Command {
	return &cobra.Command{
		Use:                "gateway",
		Hidden:             true,
		DisableFlagParsing: true,
		Run: func(command *cobra.Command, args []string) {
			os.Exit(local.Gateway(args, os.Environ(), command.OutOrStdout(), command.ErrOrStderr()))
		},
	}
}
