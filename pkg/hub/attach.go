package hub

import "github.com/wscluster/wscluster/pkg/backplane"

// attachment collects what the channel fans out while a client's part of the log is being read, so that nothing falls
// between the two.
type attachment struct {
	client   *Client
	frames   []captured
	first    int64 // the offset of the first message that came, for this client or not; 0: none
	bytes    int
	limit    int
	overflow bool // too much came, or something was missed: read again
}

type captured struct {
	offset int64
	frame  []byte // as it goes to the client
}

// maxCaptured bounds an attachment in bytes, and so does a quarter of the client's send queue; a read of the log takes far
// less time than this much needs to come.
const maxCaptured = 256 << 10

func (a *attachment) capture(m *backplane.Message) {
	if a.overflow {
		return
	}
	if a.first == 0 {
		a.first = m.Offset
	}
	if a.bytes += len(m.Body); a.bytes > a.limit {
		a.overflow, a.frames = true, nil
		return
	}
	if m.Exclude == a.client.ID {
		return
	}
	a.frames = append(a.frames, captured{m.Offset, appendFrame(nil, m)})
}

// attach begins to collect what the channel fans out.
func (ch *channel) attach(c *Client) *attachment {
	a := &attachment{client: c, limit: min(maxCaptured, ch.hub.sendQueueBytes()/4)}
	ch.mu.Lock()
	l := ch.logLocked()
	l.attaching = append(l.attaching, a)
	ch.mu.Unlock()
	return a
}

func (ch *channel) detach(a *attachment) {
	ch.mu.Lock()
	ch.detachLocked(a)
	ch.mu.Unlock()
}

func (ch *channel) detachLocked(a *attachment) {
	l := ch.log
	for i := range l.attaching {
		if l.attaching[i] == a {
			l.attaching = append(l.attaching[:i], l.attaching[i+1:]...)
			break
		}
	}
	if len(l.attaching) == 0 {
		l.attaching = nil
	}
}
