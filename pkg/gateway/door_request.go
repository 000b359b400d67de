package gateway

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

var endOfHeader = []byte("\r\n\r\n")

// beginning is how an ordinary request begins.
const beginning = "GET /ws"

func ordinarySoFar(p []byte) bool {
	n := min(len(p), len(beginning))
	return string(p[:n]) == beginning[:n]
}

// enough tells whether a request is whole, or is seen not to be ordinary.
func enough(said []byte) bool { return !ordinarySoFar(said) || bytes.HasSuffix(said, endOfHeader) }

// request returns the request that head is, or nil if it is not one whole ordinary handshake. Whatever net/http would look at twice,
// or answer by itself, is not ordinary.
func (a *reading) request(head []byte) *http.Request {
	if !ordinarySoFar(head) || bytes.Index(head, endOfHeader) != len(head)-len(endOfHeader) || !plainLines(head) {
		return nil
	}
	a.source.Reset(head)
	a.reader.Reset(&a.source)
	r, err := http.ReadRequest(a.reader)
	if err != nil || r.URL.Path != "/ws" || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
		r.Header["Expect"] != nil || r.Header["Upgrade"] == nil || !plainHost(r.Host) || !plainNames(r.Header) {
		return nil
	}
	return r
}

// plainLines tells whether the header is lines that end as they should, without control characters and continued lines.
func plainLines(head []byte) bool {
	for i, c := range head {
		switch {
		case c == '\r' && i+1 < len(head) && head[i+1] == '\n', c == '\t':
		case c == '\n' && i > 0 && head[i-1] == '\r':
			if i+1 < len(head) && (head[i+1] == ' ' || head[i+1] == '\t') {
				return false
			}
		case c < ' ' || c == 0x7f:
			return false
		}
	}
	return true
}

// plainHost tells whether a Host header is a name or an address, with or without a port.
func plainHost(host string) bool { return consistsOf(host, ".-_:[]") }

func plainNames(header http.Header) bool {
	for name := range header {
		if !consistsOf(name, "-_") {
			return false
		}
	}
	return true
}

// consistsOf tells whether text is letters, digits and others, and at least one of them.
func consistsOf(text, others string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return text != ""
}

// response is an http.ResponseWriter for one request on a connection. The connection ends with the answer, unless it was
// taken over.
type response struct {
	conn   net.Conn
	header http.Header
	status int
	body   bytes.Buffer
	taken  bool
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Hijack implements http.Hijacker. Nothing is to be read from what it returns: the whole request was read, and nothing behind it.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.taken = true
	return w.conn, nothingBuffered, nil
}

// nothingBuffered is shared, so nothing may be buffered in it: what is appended to its buffer of one byte moves elsewhere.
var nothingBuffered = bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriterSize(io.Discard, 1))

// finish sends the answer.
func (w *response) finish() {
	if w.taken {
		return
	}
	w.WriteHeader(http.StatusOK)
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	answer := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(headerTimeout)) // fails only on a closed connection, and then the write does too
	_ = answer.Write(w.conn)                                   // a client that is gone cannot be told
	_ = w.conn.Close()
}
