package redis

// pushKind tells apart what comes on a connection that is subscribed.
type pushKind uint8

const (
	pushMessage pushKind = iota
	// pushOversized is a message that is larger than any of ours; its payload was passed over.
	pushOversized
	pushSubscribed
	pushUnsubscribed
	pushPong
)

// push is one thing that came. Its slices are parts of the read buffer: valid until the next is read.
type push struct {
	kind             pushKind
	channel, payload []byte
}

// push reads the next thing that comes on a subscribed connection. An error that Redis answers a command with is returned as
// a refusal.
func (r *respReader) push() (push, error) {
	r.release()
	line, err := r.line()
	if err != nil {
		return push{}, err
	}
	switch {
	case line[0] == '-':
		return push{}, refusal(line[1:])
	case string(line) == "+PONG": // while nothing is subscribed to
		return push{kind: pushPong}, nil
	case string(line) == "*2":
		return r.pong()
	case string(line) != "*3":
		return push{}, errNotRESP
	}
	name, err := r.bulk()
	if err != nil {
		return push{}, err
	}
	// The name is compared before the channel is read, since names lie in the buffer, which may move.
	kind, ok := pushKindOf(r.bytes(name))
	if !ok {
		return push{}, errNotRESP
	}
	channel, err := r.bulk()
	if err != nil {
		return push{}, err
	}
	if kind == pushMessage {
		return r.message(channel)
	}
	// The number of subscriptions follows.
	if _, err := r.head(':', maxArrayLength<<10); err != nil {
		return push{}, err
	}
	return push{kind: kind, channel: r.bytes(channel)}, nil
}

func pushKindOf(name []byte) (kind pushKind, ok bool) {
	switch string(name) {
	case "message", "smessage":
		return pushMessage, true
	case "subscribe", "ssubscribe":
		return pushSubscribed, true
	case "unsubscribe", "sunsubscribe":
		return pushUnsubscribed, true
	default:
		return 0, false
	}
}

// message reads a message's payload. Others may publish to our channels too, so a payload that is too large is no reason to
// break the link, which would only bring the next one.
func (r *respReader) message(channel span) (push, error) {
	size, err := r.head('$', maxRedisBulkBytes)
	if err != nil {
		return push{}, err
	}
	if size > maxBulkBytes {
		p := push{kind: pushOversized}
		return p, r.skip(size)
	}
	payload, err := r.body(size)
	if err != nil {
		return push{}, err
	}
	return push{kind: pushMessage, channel: r.bytes(channel), payload: r.bytes(payload)}, nil
}

// maxRedisBulkBytes is above the largest string that Redis takes unless it is told otherwise (512 MiB); more is no length.
const maxRedisBulkBytes = 1 << 30

// skip passes over a string of n bytes and its end, piece by piece.
func (r *respReader) skip(n int) error {
	for n > 0 {
		piece := min(n, readBufferBytes)
		r.release()
		if err := r.need(piece); err != nil {
			return err
		}
		r.pos += piece
		n -= piece
	}
	r.release()
	_, err := r.body(0)
	return err
}

// pong reads the answer to a ping on a connection that is subscribed to something.
func (r *respReader) pong() (push, error) {
	name, err := r.bulk()
	if err != nil {
		return push{}, err
	}
	if string(r.bytes(name)) != "pong" {
		return push{}, errNotRESP
	}
	if _, err := r.bulk(); err != nil {
		return push{}, err
	}
	return push{kind: pushPong}, nil
}
