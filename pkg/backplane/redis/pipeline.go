package redis

import (
	"net"
	"time"
)

// pipeline is a publisher's side of a connection: commands go out in one write, and their answers are read in their order.
// It is not safe for concurrent use, and shares the connection with the link's go-redis client, of which no command may run
// meanwhile.
type pipeline struct {
	conn   net.Conn
	peeker *peeker
	reader *respReader
	out    []byte
}

func newPipeline(conn net.Conn) *pipeline {
	return &pipeline{conn: conn, peeker: newPeeker(conn), reader: newRESPReader(conn)}
}

// begin sets the deadline of the exchange that follows, and returns an error when the connection was closed while it was
// idle: then nothing was written, and nothing is lost but time.
func (p *pipeline) begin(deadline time.Time) error {
	p.out = p.out[:0]
	if err := p.conn.SetDeadline(deadline); err != nil {
		return err
	}
	return p.peeker.quiet()
}

// flush writes the commands in out.
func (p *pipeline) flush() error {
	_, err := p.conn.Write(p.out)
	if cap(p.out) > maxPipelineBytes {
		p.out = nil // the memory of a large message is not kept
	}
	return err
}
