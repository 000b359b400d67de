package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/bench"
)

// benchFlags are the flags that are no fields of bench.Options.
type benchFlags struct {
	tokenFile, caFile string
	headers           []string
	local             []net.IP
	load              bench.Load
	asJSON, verbose   bool
	connectTimeout    time.Duration
}

func newBench() *cobra.Command {
	o := bench.Options{}
	f := benchFlags{}
	command := &cobra.Command{
		Use:   "bench --url ws://HOST:PORT/ws",
		Short: "Load gateways and check what they deliver",
		Long: `Bench connects publishers and subscribers, has them join rooms of their own, publishes, and says how long deliveries took.
Clients do what clients should: they follow reconnect frames, and come back after a random pause when their connection ends.

With --check it remembers every message and says, for each room and client, what was lost, doubled or reordered, and exits with
status 1 if there is anything that must not be. In rooms without history what was in flight when a connection ended or Redis
failed may be lost: it is counted apart. With --history nothing that was acked may be.

One process uses one core and as many connections as it may have files (ulimit -n): run several for more.
Gateways limit the messages of a connection (limits.messagesPerSecond): use enough publishers.`,
		Example: `  wsc bench --url ws://127.0.0.1:8080/ws --subscribers 1000 --rate 100 --duration 30s
  wsc bench --url ws://10.0.0.1:8080/ws --url ws://10.0.0.2:8080/ws --rooms 200 --publishers 200 --subscribers 1800 --rate 2000 --check
  wsc bench --url wss://chat.example.com/ws --token-file tokens.txt --outstanding 8 --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := f.complete(&o); err != nil {
				return usageError(err)
			}
			if f.load.Rate == 0 && f.load.Outstanding == 0 {
				f.load.Rate = 10
			}
			return runBench(command, o, f)
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&o.URLs, "url", nil, "address of a gateway or Service; may be repeated, clients are dealt out in turn")
	flags.IntVar(&o.Publishers, "publishers", 1, "clients that publish, members of the rooms they publish to")
	flags.IntVar(&o.Subscribers, "subscribers", 100, "clients that only listen")
	flags.IntVar(&o.Rooms, "rooms", 1, "rooms that messages go to, in turn")
	flags.IntVar(&o.RoomsPerSubscriber, "rooms-per-subscriber", 1, "rooms that each subscriber is in")
	flags.IntVar(&o.PayloadBytes, "payload", 128, "bytes of each message's data")
	flags.Float64Var(&f.load.Rate, "rate", 0, "messages a second of all publishers together; default 10 without --outstanding")
	flags.IntVar(&f.load.Outstanding, "outstanding", 0, "instead of a rate: messages under way at once, each until its last delivery")
	flags.DurationVar(&f.load.Duration, "duration", 10*time.Second, "how long to publish")
	flags.IntVar(&f.load.Messages, "messages", 0, "stop after so many messages; 0: only after the duration")
	flags.DurationVar(&f.load.Grace, "grace", 5*time.Second, "how long to wait for the last deliveries, and for clients to come back")
	flags.BoolVar(&o.Check, "check", false, "remember every message; status 1 if any was lost, doubled or reordered")
	flags.BoolVar(&o.History, "history", false, "the rooms keep a history: clients recover, and nothing acked may be lost")
	flags.StringVar(&o.RoomPrefix, "room-prefix", "", "beginning of the rooms' names; default: bench- and a random part")
	flags.StringVar(&o.UserPrefix, "user-prefix", "bench-", "beginning of the user ids, for gateways with --auth=trusted")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with bearer tokens, one a line, dealt out to the clients")
	flags.StringArrayVar(&f.headers, "header", nil, "\"Name: value\" for every handshake; may be repeated")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM file of the CA that signed the gateways' certificates")
	flags.IPSliceVar(&f.local, "local-address", nil, "addresses to connect from, in turn: each has about 28,000 ports to one gateway")
	flags.Float64Var(&o.ConnectRate, "connect-rate", 1000, "new connections a second at most")
	flags.DurationVar(&f.connectTimeout, "connect-timeout", time.Minute, "how long all clients together may take to connect and join")
	flags.DurationVar(&o.FaultMargin, "fault-margin", 3*time.Second, "how long before a fault is seen messages may have been in flight")
	flags.BoolVar(&o.StayClosed, "stay-closed", false, "clients whose connection ended do not come back")
	flags.BoolVar(&o.PublishersStayOut, "publishers-stay-out", false, "publish without joining, where the rooms' policy allows it")
	flags.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "tell of every connection that ends")
	return command
}

// errViolations makes wsc exit with status 1; the report has said why.
var errViolations = errors.New("the check found violations")

func runBench(command *cobra.Command, o bench.Options, f benchFlags) error {
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g, err := bench.New(o)
	if err != nil {
		return usageError(err)
	}
	defer g.Close()
	if err := g.ValidateLoad(f.load); err != nil {
		return usageError(err)
	}
	progress := func(format string, args ...any) {
		if !f.asJSON {
			fmt.Fprintf(command.ErrOrStderr(), format+"\n", args...)
		}
	}
	progress("connecting %d clients", o.Publishers+o.Subscribers)
	connecting, cancel := context.WithTimeoutCause(ctx, f.connectTimeout, fmt.Errorf("--connect-timeout of %v is over", f.connectTimeout))
	defer cancel()
	if err := g.Connect(connecting); err != nil {
		return err
	}
	progress("publishing for %v; Ctrl-C ends it early, twice ends at once", f.load.Duration)
	defer context.AfterFunc(ctx, stop)() // the second signal is the system's
	phase, _ := g.Publish(ctx, f.load)   // fails only if it was ended early, and then there is a phase to report all the same
	g.AwaitReturn(ctx, f.load.Grace)
	report := g.Report(phase)
	if f.asJSON {
		encoder := json.NewEncoder(command.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		err = report.WriteText(command.OutOrStdout())
	}
	if err != nil {
		return err
	}
	if len(report.Violations) > 0 {
		return fmt.Errorf("%w: %s", errViolations, strings.Join(report.Violations, "; "))
	}
	return nil
}

// complete reads the files and parses what the flags hold.
func (f *benchFlags) complete(o *bench.Options) error {
	o.LocalAddresses = f.local
	o.Header = http.Header{}
	for _, text := range f.headers {
		name, value, ok := strings.Cut(text, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("--header %q: write it like \"Origin: https://chat.example.com\"", text)
		}
		o.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		if o.Tokens = strings.Fields(string(text)); len(o.Tokens) == 0 {
			return fmt.Errorf("--token-file: %s is empty; write one token a line", f.tokenFile)
		}
	}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return fmt.Errorf("--ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("--ca-file: %s holds no PEM certificate", f.caFile)
		}
		o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	if f.verbose {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return nil
}
