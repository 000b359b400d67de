package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wscluster/wscluster/pkg/client"
	"github.com/wscluster/wscluster/pkg/protocol"
)

// tailFlags are what tail knows beyond where to connect.
type tailFlags struct {
	connect       connectFlags
	inbox         bool
	presence      bool
	history       int
	count         int
	asJSON, quiet bool
}

func newTail() *cobra.Command {
	f := tailFlags{}
	command := &cobra.Command{
		Use:   "tail [ROOM ...]",
		Short: "Print the messages of rooms, and of a user's inbox",
		Long: `Tail joins the rooms and prints every message as a line. It connects again when it has to, and recovers what it missed where
a history is kept. Where messages may be missing it prints a line that says so and why.

Messages go to standard output, everything about the connection to standard error.
Exit status: 0 after Ctrl-C or --count, 1 when a gateway refuses, 2 for a wrong command line.`,
		Example: `  wsc tail lobby
  wsc tail lobby news --history 20 --json | jq .data
  wsc tail --inbox --user alice`,
		RunE: func(command *cobra.Command, rooms []string) error { return runTail(command, rooms, &f) },
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.inbox, "inbox", false, "print the messages to this user too")
	flags.BoolVar(&f.presence, "presence", false, "print who comes to the rooms and goes, beginning with who is there")
	flags.IntVar(&f.history, "history", 0, "begin with so many of the newest messages of each room and the inbox, where they are kept")
	flags.IntVar(&f.count, "count", 0, "end after so many messages; 0: only with Ctrl-C")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, an object a line")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing about the connection")
	f.connect.add(flags, "how long to try to connect and join at first")
	return command
}

func runTail(command *cobra.Command, rooms []string, f *tailFlags) error {
	switch {
	case len(rooms) == 0 && !f.inbox:
		return usageError(errors.New("name a room, or give --inbox: wsc tail lobby"))
	case f.history < 0 || f.history > protocol.MaxLimit:
		return usageError(fmt.Errorf("--history: %d is out of range; ask for 0 to %d messages", f.history, protocol.MaxLimit))
	case f.count < 0:
		return usageError(fmt.Errorf("--count: %d is out of range; give 1 or more, or 0 for no end", f.count))
	}
	options, err := f.connect.options()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &printer{out: command.OutOrStdout(), notes: command.ErrOrStderr(), asJSON: f.asJSON, quiet: f.quiet, left: f.count, done: make(chan error, 1)}
	options.OnState = p.state
	if f.inbox {
		options.Inbox = &client.InboxOptions{Handler: func(e client.Event) { p.print("", e) }, History: f.history}
	}
	begin, cancel := context.WithTimeout(ctx, f.connect.timeout)
	defer cancel()
	c, err := client.Dial(begin, options)
	if err != nil {
		return unlessStopped(ctx, connectError(err, f.connect.timeout))
	}
	closing, stopClosing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopClosing()
	defer func() { _ = c.Close(closing) }() // it publishes nothing
	for _, room := range rooms {
		handle := func(e client.Event) { p.print(room, e) }
		joined, err := c.Join(begin, room, client.RoomOptions{Handler: handle, History: f.history, Presence: f.presence})
		if err == nil && f.presence {
			err = p.members(begin, joined)
		}
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("no answer within --timeout of %v", f.connect.timeout)
			}
			return unlessStopped(ctx, fmt.Errorf("join %s: %w", room, err))
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.done:
		return err
	case <-c.Done():
		return c.Err()
	}
}

// unlessStopped returns nil if it was the person who ended it.
func unlessStopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// printer writes what rooms bring, a line each. It is safe for concurrent use.
type printer struct {
	out, notes    io.Writer
	asJSON, quiet bool
	// done has a place for the one result.
	done chan error

	mu   sync.Mutex
	left int // messages until the end; 0: no end
	over bool
}

// line is an event as --json shows it: for messages what the protocol's frame has.
type line struct {
	Type         string           `json:"type"`
	MessageID    string           `json:"message_id,omitempty"`
	RoomID       string           `json:"room_id,omitempty"`
	TargetUserID string           `json:"target_user_id,omitempty"`
	Inbox        bool             `json:"inbox,omitempty"`
	From         string           `json:"from,omitempty"`
	Data         json.RawMessage  `json:"data,omitempty"`
	TS           int64            `json:"ts,omitempty"`
	Epoch        string           `json:"epoch,omitempty"`
	Offset       int64            `json:"offset,omitempty"`
	Reason       client.GapReason `json:"reason,omitempty"`
	Missed       int64            `json:"missed,omitempty"`
	UserID       string           `json:"user_id,omitempty"`
	Connections  int              `json:"connections,omitempty"`
	Users        *int             `json:"users,omitempty"`
	Members      []client.Member  `json:"members,omitempty"`
}

// print writes an event of a room, or of the inbox where room is empty.
func (p *printer) print(room string, e client.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	var err error
	switch e := e.(type) {
	case client.Message:
		err = p.message(&e)
	case client.Gap:
		err = p.gap(room, e)
	case client.MemberJoined:
		err = p.presence(&line{Type: "member_joined", RoomID: e.Room, UserID: e.UserID, Connections: e.Connections}, e.UserID+" has come")
	case client.MemberLeft:
		err = p.presence(&line{Type: "member_left", RoomID: e.Room, UserID: e.UserID, Connections: e.Connections}, e.UserID+" has gone")
	case client.PresenceGap:
		err = p.presence(&line{Type: "presence_gap", RoomID: e.Room}, "who came and went meanwhile is not known")
	case client.Ended:
		err = fmt.Errorf("%s has ended: %w", named(room), e.Err)
	}
	if _, isMessage := e.(client.Message); err != nil || isMessage && p.left == 1 {
		p.over = true
		p.done <- err
	} else if isMessage && p.left > 0 {
		p.left--
	}
}

func (p *printer) message(m *client.Message) error {
	if p.asJSON {
		return p.write(&line{
			Type: "message", MessageID: m.ID, RoomID: m.Room, TargetUserID: m.User, From: m.From, Data: m.Data, TS: m.Time.UnixMilli(),
			Epoch: m.At.Epoch, Offset: m.At.Offset,
		})
	}
	from := m.From
	if from == "" {
		from = "(server)"
	}
	place := ""
	if m.At.Offset != 0 {
		place = fmt.Sprintf(" #%d", m.At.Offset)
	}
	_, err := fmt.Fprintf(p.out, "%s %s%s %s: %s\n", m.Time.Format("15:04:05.000"), named(m.Room), place, from, m.Data)
	return err
}

// presence writes what is said of who is in a room.
func (p *printer) presence(l *line, text string) error {
	if p.asJSON {
		return p.write(l)
	}
	_, err := fmt.Fprintf(p.out, "%s %s -- %s\n", time.Now().Format("15:04:05.000"), l.RoomID, text)
	return err
}

// members writes who is in the room at the beginning: how many users, and the names on the first page.
func (p *printer) members(ctx context.Context, room *client.Room) error {
	page, err := room.Members(ctx, "", 0)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asJSON {
		return p.write(&line{Type: "members", RoomID: room.ID, Users: &page.Count, Members: page.Members})
	}
	names := make([]string, len(page.Members))
	for i, m := range page.Members {
		names[i] = m.UserID
	}
	more := ""
	if page.Next != "" {
		more = ", …"
	}
	return p.presence(&line{RoomID: room.ID}, fmt.Sprintf("%d here: %s%s", page.Count, strings.Join(names, ", "), more))
}

func (p *printer) gap(room string, g client.Gap) error {
	if p.asJSON {
		return p.write(&line{Type: "gap", RoomID: room, Inbox: room == "", Reason: g.Reason, Missed: g.Missed, Epoch: g.To.Epoch, Offset: g.To.Offset})
	}
	missed := "messages may be missing here"
	if g.Missed > 0 {
		missed = fmt.Sprintf("%d messages are missing here", g.Missed)
	}
	_, err := fmt.Fprintf(p.out, "%s %s -- %s (%s)\n", time.Now().Format("15:04:05.000"), named(room), missed, g.Reason)
	return err
}

func (p *printer) write(l *line) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(l)
}

func named(room string) string {
	if room == "" {
		return "(inbox)"
	}
	return room
}

// state tells about the connection.
func (p *printer) state(s client.State) {
	if p.quiet {
		return
	}
	switch s.Status {
	case client.StatusConnected:
		fmt.Fprintf(p.notes, "connected to %s as %s\n", s.Node, s.UserID)
	case client.StatusWaiting:
		fmt.Fprintf(p.notes, "%v; next attempt in %v\n", s.Err, s.Retry.Round(time.Millisecond))
	case client.StatusMoving:
		fmt.Fprintf(p.notes, "%s asks to connect anew\n", s.Node)
	}
}
