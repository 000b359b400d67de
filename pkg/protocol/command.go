package protocol

import "strconv"

// CommandType names what a client asks for.
type CommandType uint8

// The commands. CommandUnknown is the zero value: a frame that could not be decoded.
const (
	CommandUnknown CommandType = iota
	CommandJoin
	CommandLeave
	CommandPublish
	CommandPresence
	CommandHistory
	CommandAuth
	CommandPing
)

var commandNames = [...]string{"unknown", "join", "leave", "publish", "presence", "history", "auth", "ping"}

// String returns the command's name on the wire, or "unknown".
func (t CommandType) String() string { return commandNames[t] }

// CommandTypes lists all commands, for counters that start at zero.
func CommandTypes() []CommandType {
	return []CommandType{CommandUnknown, CommandJoin, CommandLeave, CommandPublish, CommandPresence, CommandHistory, CommandAuth, CommandPing}
}

// Command is one decoded frame of a client. Its byte slices point into the frame or into memory of the Command itself and
// are valid until either is used again. A Command is reused by calling Decode again; it is not safe for concurrent use.
type Command struct {
	Type CommandType
	// ID is empty when the client asked for no ack.
	ID []byte

	RoomID, TargetUserID []byte
	// Data is the JSON value as it came.
	Data           []byte
	IdempotencyKey []byte
	// NoEcho leaves the publishing connection out.
	NoEcho bool

	// Recover asks for what was missed since RecoverOffset of RecoverEpoch.
	Recover       bool
	RecoverEpoch  []byte
	RecoverOffset int64
	// History is the number of messages asked for with a join.
	History  int
	Presence bool

	// Inbox asks for the history of the user's own inbox.
	Inbox   bool
	Limit   int
	Since   int64
	Reverse bool
	// Next continues a listing; opaque.
	Next []byte

	Token []byte

	fields  [fieldCount][]byte
	scratch []byte
}

// The known fields of a frame, in the order of fieldNames.
const (
	fieldType = iota
	fieldID
	fieldRoomID
	fieldTargetUserID
	fieldData
	fieldIdempotencyKey
	fieldEcho
	fieldRecover
	fieldHistory
	fieldPresence
	fieldInbox
	fieldLimit
	fieldSince
	fieldReverse
	fieldNext
	fieldToken
	fieldEpoch
	fieldOffset
	fieldCount
)

var fieldNames = [fieldCount]string{"type", "id", "room_id", "target_user_id", "data", "idempotency_key", "echo", "recover",
	"history", "presence", "inbox", "limit", "since", "reverse", "next", "token", "epoch", "offset"}

// Decode reads one frame. On an error c.ID is set if the frame had a usable one before the fault, and c.Type if it was known; the rest of c
// is undefined. The frame must be valid UTF-8; it is not changed.
func (c *Command) Decode(frame []byte) *Error {
	*c = Command{scratch: c.scratch[:0]}
	scanErr := c.scanFields(frame, skipSpace(frame, 0), true)
	id, idErr := c.text(fieldID, MaxIDBytes, false)
	if idErr == nil {
		c.ID = id // also of a frame that is broken further on, so that its sender knows which command it was
	}
	if scanErr != nil {
		return scanErr
	}
	kind, err := c.text(fieldType, MaxIDBytes, true)
	if err != nil {
		return err
	}
	switch string(kind) {
	case "join":
		c.Type = CommandJoin
	case "leave":
		c.Type = CommandLeave
	case "publish":
		c.Type = CommandPublish
	case "presence":
		c.Type = CommandPresence
	case "history":
		c.Type = CommandHistory
	case "auth":
		c.Type = CommandAuth
	case "ping":
		c.Type = CommandPing
	default:
		return &Error{CodeUnknownType, "type " + strconv.Quote(string(kind)) + " is not known: use join, leave, publish, presence, history, auth or ping"}
	}
	if idErr != nil {
		return idErr
	}
	return c.decodeType()
}

func (c *Command) decodeType() (err *Error) {
	switch c.Type {
	case CommandJoin:
		if c.RoomID, err = c.name(fieldRoomID, true); err != nil {
			return err
		}
		if c.History, err = c.count(fieldHistory, MaxLimit); err != nil {
			return err
		}
		if c.Presence, err = c.flag(fieldPresence, false); err != nil {
			return err
		}
		return c.decodeRecover()
	case CommandLeave:
		c.RoomID, err = c.name(fieldRoomID, true)
		return err
	case CommandPublish:
		return c.decodePublish()
	case CommandPresence:
		if c.RoomID, err = c.name(fieldRoomID, true); err != nil {
			return err
		}
		return c.decodePage()
	case CommandHistory:
		if c.Inbox, err = c.flag(fieldInbox, false); err != nil {
			return err
		}
		if c.RoomID, err = c.name(fieldRoomID, !c.Inbox); err != nil {
			return err
		}
		if c.Inbox && c.RoomID != nil {
			return badRequest("give either room_id or inbox: true, not both")
		}
		if c.Reverse, err = c.flag(fieldReverse, false); err != nil {
			return err
		}
		if c.Since, err = c.integer(fieldSince, MaxOffset); err != nil {
			return err
		}
		return c.decodePage()
	case CommandAuth:
		c.Token, err = c.text(fieldToken, 0, true)
		return err
	}
	return nil
}

func (c *Command) decodePublish() (err *Error) {
	if err = c.decodePublication(true); err != nil {
		return err
	}
	echo, err := c.flag(fieldEcho, true)
	c.NoEcho = !echo
	return err
}

// decodePublication reads what clients and backends say of a message alike; addressed: also where it goes.
func (c *Command) decodePublication(addressed bool) (err *Error) {
	if c.RoomID, err = c.name(fieldRoomID, false); err != nil {
		return err
	}
	if c.TargetUserID, err = c.name(fieldTargetUserID, false); err != nil {
		return err
	}
	if addressed && (c.RoomID == nil) == (c.TargetUserID == nil) {
		return badRequest("give exactly one of room_id and target_user_id")
	}
	if c.Data = c.fields[fieldData]; c.Data == nil {
		return badRequest("data is missing: give any JSON value")
	}
	c.IdempotencyKey, err = c.text(fieldIdempotencyKey, MaxIdempotencyKeyBytes, false)
	return err
}

func (c *Command) decodeRecover() (err *Error) {
	raw := c.present(fieldRecover)
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		return badRequest("recover must be an object with epoch and offset")
	}
	c.fields[fieldEpoch], c.fields[fieldOffset] = nil, nil
	if err := c.scanFields(raw, 0, false); err != nil {
		return err
	}
	if c.RecoverEpoch, err = c.text(fieldEpoch, 0, true); err != nil {
		return err
	}
	if c.present(fieldOffset) == nil {
		return badRequest("offset is missing in recover")
	}
	c.RecoverOffset, err = c.integer(fieldOffset, MaxOffset)
	c.Recover = true
	return err
}

func (c *Command) decodePage() (err *Error) {
	if c.Limit, err = c.count(fieldLimit, MaxLimit); err != nil {
		return err
	}
	c.Next, err = c.text(fieldNext, 0, false)
	return err
}

// scanFields walks the object at b[i] and notes where the values of known fields are; of equal names the last one counts.
// In a nested object (top false) only epoch and offset are noted.
func (c *Command) scanFields(b []byte, i int, top bool) *Error {
	if i >= len(b) || b[i] != '{' {
		if end, err := scanValue(b, i); err != nil || skipSpace(b, end) != len(b) {
			return badFrame(errSyntax)
		}
		return badRequest("the frame must be a JSON object with a type")
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return checkEnd(b, i+1)
	}
	for {
		value, err := scanName(b, i)
		if err != nil {
			return badFrame(err)
		}
		end, err := scanValue(b, value)
		if err != nil {
			return badFrame(err)
		}
		if field := c.fieldNamed(b, i, top); field >= 0 {
			c.fields[field] = b[value:end:end]
		}
		i = skipSpace(b, end)
		if i < len(b) && b[i] == '}' {
			return checkEnd(b, i+1)
		}
		if i >= len(b) || b[i] != ',' {
			return badFrame(errSyntax)
		}
		i = skipSpace(b, i+1)
	}
}

// checkEnd refuses anything but white space after the frame's object.
func checkEnd(b []byte, i int) *Error {
	if skipSpace(b, i) != len(b) {
		return badFrame(errSyntax)
	}
	return nil
}

// fieldNamed returns the field whose name is the (already scanned) string at b[i], or -1.
func (c *Command) fieldNamed(b []byte, i int, top bool) int {
	end, _ := scanString(b, i)
	name := unquote(b[i:end], &c.scratch)
	first, last := fieldType, fieldToken
	if !top {
		first, last = fieldEpoch, fieldOffset
	}
	for field := first; field <= last; field++ {
		if string(name) == fieldNames[field] {
			return field
		}
	}
	return -1
}

// present returns the raw value of a field, or nil if it is absent or null.
func (c *Command) present(field int) []byte {
	raw := c.fields[field]
	if len(raw) == 0 || raw[0] == 'n' {
		return nil
	}
	return raw
}

// text returns a string field; most is its bound in bytes, 0: none.
func (c *Command) text(field, most int, required bool) ([]byte, *Error) {
	raw := c.present(field)
	if raw == nil {
		if required {
			return nil, badRequest(fieldNames[field] + " is missing")
		}
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, badRequest(fieldNames[field] + " must be a string")
	}
	s := unquote(raw, &c.scratch)
	if len(s) == 0 {
		return nil, badRequest(fieldNames[field] + " must not be empty")
	}
	if most > 0 && len(s) > most {
		return nil, badRequest(fieldNames[field] + " must be at most " + strconv.Itoa(most) + " bytes")
	}
	return s, nil
}

// name returns a room or user id.
func (c *Command) name(field int, required bool) ([]byte, *Error) {
	s, err := c.text(field, 0, required)
	if err != nil || s == nil {
		return nil, err
	}
	if err := CheckName(s); err != nil {
		return nil, badRequest(fieldNames[field] + " " + err.Error())
	}
	return s, nil
}

func (c *Command) flag(field int, absent bool) (bool, *Error) {
	switch raw := c.present(field); string(raw) {
	case "":
		return absent, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badRequest(fieldNames[field] + " must be true or false")
}

// integer returns a whole number from 0 to most; absent: 0.
func (c *Command) integer(field int, most int64) (int64, *Error) {
	raw := c.present(field)
	if raw == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, badRequest(fieldNames[field] + " must be a whole number from 0 to " + strconv.FormatInt(most, 10))
	}
	return n, nil
}

// count is integer for limits, which start at 1.
func (c *Command) count(field int, most int64) (int, *Error) {
	n, err := c.integer(field, most)
	if err != nil || n == 0 && c.present(field) != nil {
		return 0, badRequest(fieldNames[field] + " must be a whole number from 1 to " + strconv.FormatInt(most, 10))
	}
	return int(n), nil
}

func badRequest(message string) *Error { return &Error{CodeBadRequest, message} }

func badFrame(err error) *Error { return badRequest("the frame is " + err.Error()) }
