// Command wsc is the person's tool: it runs a WebSocketCluster on this machine, and looks after those that run elsewhere. It is
// a kubectl plugin as well: kubectl wsc.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/version"
)

func main() {
	if err := execute(context.Background(), newRoot()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitStatus(err))
	}
}

// execute runs the command that the arguments name. What fails before the command itself has begun, such as an unknown flag or
// command, is an error of the command line.
func execute(ctx context.Context, root *cobra.Command) error {
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !begun {
		return usageError(err)
	}
	return err
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "wsc",
		Short: "Run and look after WebSocket clusters",
		// An error is one sentence; a page of usage below it would hide it.
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version,
	}
	root.SetVersionTemplate("wsc {{.Version}}\n")
	root.AddCommand(newRun(), newGateway(), newPublish(), newTail(), newBench(), newSize(), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), "wsc", version.Version)
			return err
		},
	}
}
