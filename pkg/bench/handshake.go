package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// refusedError is a handshake that was answered with something else than 101.
type refusedError struct {
	status     int
	retryAfter time.Duration
	body       string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the handshake was refused with %d: %s", e.status, e.body)
}

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshakeWith connects and makes the handshake. It returns the connection and the bytes that came right behind the answer.
func (g *Generator) handshakeWith(ctx context.Context, client int, address string) (net.Conn, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.options.DialTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	conn, err := g.dialTCP(ctx, client, u)
	if err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // fails only on a closed connection, and then the write does too
	rest, err := g.handshake(conn, u, client)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, rest, nil
}

func (g *Generator) dialTCP(ctx context.Context, client int, u *url.URL) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if n := len(g.options.LocalAddresses); n > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: g.options.LocalAddresses[client%n]}
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"ws": "80", "wss": "443"}[u.Scheme])
	}
	if u.Scheme == "ws" {
		return dialer.DialContext(ctx, "tcp", host)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if g.options.TLS != nil {
		config = g.options.TLS.Clone()
	}
	return (&tls.Dialer{NetDialer: &dialer, Config: config}).DialContext(ctx, "tcp", host)
}

// handshake is RFC 6455's, written by hand: net/http would keep buffers and goroutines for each of the connections.
func (g *Generator) handshake(conn net.Conn, u *url.URL, client int) (rest []byte, err error) {
	query, header := g.options.Dialect.Handshake(client)
	if u.RawQuery != "" && query != "" {
		query = u.RawQuery + "&" + query
	} else if query == "" {
		query = u.RawQuery
	}
	target := u.EscapedPath()
	if target == "" {
		target = "/"
	}
	if query != "" {
		target += "?" + query
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails, says its documentation
	key := base64.StdEncoding.EncodeToString(nonce[:])
	var request strings.Builder
	request.WriteString("GET " + target + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n")
	for _, h := range []http.Header{g.options.Header, header} {
		if err := h.Write(&request); err != nil {
			return nil, err
		}
	}
	request.WriteString("\r\n")
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	reader := bufio.NewReaderSize(conn, 1024)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, refusal(response)
	}
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // RFC 6455 asks for it
	if response.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return nil, errors.New("handshake: the server's Sec-WebSocket-Accept is wrong")
	}
	rest = make([]byte, reader.Buffered())
	_, err = io.ReadFull(reader, rest)
	return rest, err
}

func refusal(response *http.Response) error {
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 512)) // only for people to read
	e := &refusedError{status: response.StatusCode, body: strings.TrimSpace(string(body))}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		e.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	return e
}

// randomName returns eight characters that two runs do not share.
func randomName() string { return strings.ToLower(rand.Text()[:8]) }
