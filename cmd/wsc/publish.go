package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// publishFlags are what publish knows beyond where to connect.
type publishFlags struct {
	connect       connectFlags
	room, target  string
	key           string
	lines, asJSON bool
}

// maxData bounds what is read from standard input as one message; a gateway's own bound is lower.
const maxData = 16 << 20

func newPublish() *cobra.Command {
	f := publishFlags{}
	command := &cobra.Command{
		Use:   "publish (--room ROOM | --to USER) [DATA]",
		Short: "Publish a message to a room or a user",
		Long: `Publish sends one message, waits until a gateway has confirmed it, and prints the receipt. What does not come through is sent
again, with the same idempotency key, so that it is published once.

DATA is JSON, or plain text, which is sent as a JSON string. Without DATA, or with -, it is read from standard input; with --lines
every line there is a message.

Exit status: 0 confirmed, 1 not published, 2 wrong command line, 3 sent, but not known to be published.`,
		Example: `  wsc publish --room lobby 'hello'
  wsc publish --user billing --to alice '{"invoice": 17}' --key invoice-17
  tail -f app.log | wsc publish --url wss://chat.example.com/ws --token-file token --room log --lines`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(fmt.Errorf("give the data as one argument: put it in quotes, like '%s'", strings.Join(args, " ")))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error { return runPublish(command, args, &f) },
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.room, "room", "", "publish to everybody in this room")
	flags.StringVar(&f.target, "to", "", "publish to every connection of this user")
	flags.StringVar(&f.key, "key", "", "idempotency key: the same one again within 5 minutes publishes nothing new")
	flags.BoolVar(&f.lines, "lines", false, "publish every line of standard input")
	flags.BoolVar(&f.asJSON, "json", false, "print the receipt as JSON")
	f.connect.add(flags, "how long to try, for each message")
	return command
}

func (f *publishFlags) check(args []string) error {
	switch {
	case (f.room == "") == (f.target == ""):
		return errors.New("give exactly one of --room and --to, like --room lobby")
	case f.lines && len(args) > 0 && args[0] != "-":
		return errors.New("--lines reads standard input: leave the data out")
	case f.lines && f.key != "":
		return errors.New("--key is for one message: leave it out with --lines")
	}
	return nil
}

func runPublish(command *cobra.Command, args []string, f *publishFlags) error {
	if err := f.check(args); err != nil {
		return usageError(err)
	}
	options, err := f.connect.options()
	if err != nil {
		return err
	}
	var one json.RawMessage
	if !f.lines {
		if one, err = readData(command.InOrStdin(), args); err != nil {
			return usageError(err)
		}
	}
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	connecting, cancel := context.WithTimeout(ctx, f.connect.timeout)
	defer cancel()
	c, err := client.Dial(connecting, options)
	if err != nil {
		return connectError(err, f.connect.timeout)
	}
	defer func() { _ = c.Close(connecting) }() // every publish has been answered
	if !f.lines {
		return f.publish(ctx, command.OutOrStdout(), c, one)
	}
	lines := bufio.NewScanner(command.InOrStdin())
	lines.Buffer(nil, maxData)
	for lines.Scan() {
		data, err := asData(lines.Bytes())
		if err != nil {
			return err
		}
		if err := f.publish(ctx, command.OutOrStdout(), c, data); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (f *publishFlags) publish(ctx context.Context, out io.Writer, c *client.Client, data json.RawMessage) error {
	trying, cancel := context.WithTimeout(ctx, f.connect.timeout)
	defer cancel()
	publication := client.Publication{Room: f.room, User: f.target, Data: data, IdempotencyKey: f.key}
	receipt, err := c.Publish(trying, publication)
	if refused, ok := errors.AsType[*protocol.Error](err); ok && refused.Code == protocol.CodeNotJoined {
		// Only members may publish there, as is the default.
		if _, err = c.Join(trying, f.room, client.RoomOptions{Handler: func(client.Event) {}}); err == nil {
			receipt, err = c.Publish(trying, publication)
		}
	}
	switch {
	case errors.Is(err, client.ErrUncertain):
		return &exitError{exitUncertain, fmt.Errorf("not confirmed within %v: %w", f.connect.timeout, err)}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nothing was published within --timeout of %v: the gateway does not take it now", f.connect.timeout)
	case err != nil:
		return err
	}
	return f.print(out, receipt)
}

func (f *publishFlags) print(out io.Writer, r client.Receipt) error {
	if f.asJSON {
		return json.NewEncoder(out).Encode(struct {
			MessageID string `json:"message_id"`
			Epoch     string `json:"epoch,omitempty"`
			Offset    int64  `json:"offset,omitempty"`
		}{r.MessageID, r.At.Epoch, r.At.Offset})
	}
	line := "message_id=" + r.MessageID
	if r.At.Offset != 0 {
		line += fmt.Sprintf(" epoch=%s offset=%d", r.At.Epoch, r.At.Offset)
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

// readData returns the argument or standard input as JSON.
func readData(in io.Reader, args []string) (json.RawMessage, error) {
	if len(args) == 1 && args[0] != "-" {
		return asData([]byte(args[0]))
	}
	if file, ok := in.(*os.File); ok && len(args) == 0 {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return nil, errors.New("give the data as an argument, like 'hello', or on standard input")
		}
	}
	text, err := io.ReadAll(io.LimitReader(in, maxData+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(text) > maxData {
		return nil, fmt.Errorf("standard input is more than %d MiB: that is no message", maxData>>20)
	}
	return asData(text)
}

// asData takes JSON as it is, and text as a string. What looks like JSON but is not is a mistake.
func asData(text []byte) (json.RawMessage, error) {
	text = bytes.TrimRight(text, "\r\n")
	if json.Valid(text) {
		return bytes.Clone(text), nil
	}
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && bytes.IndexByte([]byte(`{["`), trimmed[0]) >= 0 {
		return nil, fmt.Errorf("the data begins like JSON but is none: %.60s", trimmed)
	}
	return json.Marshal(string(text))
}

// connectError says in one line why there is no connection.
func connectError(err error, timeout any) error {
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), context.DeadlineExceeded.Error()+"\n"), "\n", ": ")
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no connection within --timeout of %v: %s", timeout, text)
	}
	return errors.New(text)
}
