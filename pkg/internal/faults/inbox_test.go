package faults

// inboxRead is the recovery of an inbox: a welcome says where it stands, what is missing up to there is read from the log, and what
// comes meanwhile waits.
type inboxRead struct {
	// from is what the client has had, upTo where the inbox was at the welcome.
	from, upTo position
	waiting    []frame
}

const inboxID = "inbox"

// takeInbox takes what concerns an inbox on its way to where the gateway is. It returns false if the client has to connect anew.
func (c *client) takeInbox(f *frame) bool {
	room := c.rooms[0]
	switch {
	case f.Type == "welcome":
		at, ok := f.Inbox.(map[string]any)
		if !ok {
			return false // Redis is away, and nobody knows where the inbox stands
		}
		epoch, _ := at["epoch"].(string)
		offset, _ := at["offset"].(float64)
		before, known := c.place(room)
		c.inbox = &inboxRead{from: before, upTo: position{epoch, int64(offset)}}
		recovered := known && before.epoch == epoch
		c.note(happening{what: joined, room: room, position: c.inbox.upTo, asked: known, recovered: recovered})
		if !recovered {
			c.inbox.from = position{epoch, 0}
			c.setPlace(room, c.inbox.from, true)
		}
	case f.ID == inboxID && (f.Type == "error" || f.Epoch != c.inbox.upTo.epoch):
		return false
	case f.ID == inboxID:
		for i := range f.Messages {
			m := &f.Messages[i]
			if m.Offset <= c.inbox.upTo.offset { // what is newer comes by itself
				c.deliver(m)
			}
			c.inbox.from.offset = m.Offset
		}
	default:
		c.inbox.waiting = append(c.inbox.waiting, *f)
		return true
	}
	if c.inbox.from.offset < c.inbox.upTo.offset {
		read := map[string]any{"type": "history", "id": inboxID, "inbox": true, "limit": 256}
		if c.inbox.from.offset > 0 {
			read["since"] = c.inbox.from.offset
		}
		c.write(read)
		return true
	}
	waiting := c.inbox.waiting
	c.inbox = nil
	for i := range waiting {
		if waiting[i].Type == "message" {
			c.deliver(&waiting[i])
		} else if waiting[i].Type == "epoch_changed" {
			c.change(&waiting[i])
		}
	}
	c.setReady(true)
	return true
}
