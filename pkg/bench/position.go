package bench

// joinPosition takes over where a room's log is after a join. lost says that a recovery was asked for and could not be given.
func (g *Generator) joinPosition(c *Conn, place int, epoch string, offset int64, lost bool) {
	if c.client.positions == nil || place < 0 || place >= len(c.client.positions) || epoch == "" {
		return
	}
	p := &c.client.positions[place]
	if lost && g.check != nil {
		g.check.notRecovered(c.client.number, g.now)
	}
	if p.epoch != epoch {
		*p = position{epoch: epoch, offset: offset}
	}
}

// positioned takes over a message's place in its room's log.
func (g *Generator) positioned(c *Conn, s Stamp, epoch []byte, offset int64) {
	if c.client.positions == nil || int(s.Stream) >= len(g.streams) {
		return
	}
	place := g.topology.place(c.client.number, g.topology.streamRoom(int(s.Stream)))
	if place < 0 {
		return
	}
	p := &c.client.positions[place]
	if p.epoch != string(epoch) {
		p.epoch, p.offset = string(epoch), 0
	}
	p.offset = max(p.offset, offset)
	if g.check != nil && s.Seq > 0 && s.Seq <= g.streams[s.Stream].seq {
		g.check.positioned(s, offset)
	}
}

// epochChanged is told of a log that was lost.
func (g *Generator) epochChanged(room string) {
	if g.check == nil {
		return
	}
	for i := range g.topology.rooms {
		if g.topology.roomName(i) == room {
			g.check.newEpoch(i, g.now)
			return
		}
	}
}
