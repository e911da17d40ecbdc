package integration_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// message is a request as it reached the app.
type message struct {
	raw     string   // all of it
	line    string   // the request line
	fields  []string // the header lines, and the trailer lines behind them
	body    string
	cut     bool  // it broke off
	problem error // why it is not a request by the letter
}

// values returns the values of all fields that a lenient server may take for the
// name: letters in either case, and anything for a hyphen.
func (m message) values(name string) []string {
	var values []string
	for _, line := range m.fields {
		have, value, _ := strings.Cut(line, ": ")
		if foldedName(have) == foldedName(name) {
			values = append(values, value)
		}
	}
	return values
}

var notAlphanumeric = regexp.MustCompile("[^a-z0-9]")

func foldedName(name string) string {
	return notAlphanumeric.ReplaceAllString(strings.ToLower(name), "-")
}

// rawApp answers every request with 200 and keeps the connection.
type rawApp struct {
	addr string

	mu       sync.Mutex
	messages []message
}

func newRawApp(t *testing.T) *rawApp {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &rawApp{addr: l.Addr().String()}
	var open sync.WaitGroup
	conns := make(map[net.Conn]bool)
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			conns[conn] = true
			a.mu.Unlock()
			open.Go(func() { a.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		a.mu.Lock()
		for conn := range conns {
			_ = conn.Close()
		}
		a.mu.Unlock()
		open.Wait()
	})
	return a
}

func (a *rawApp) serve(conn net.Conn) {
	defer conn.Close()
	var raw strings.Builder
	r := &letterReader{r: bufio.NewReader(conn), raw: &raw}
	for {
		raw.Reset()
		m, err := r.message()
		m.raw = raw.String()
		if m.raw == "" {
			return // nothing more came
		}
		m.cut = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*net.OpError))
		if !m.cut {
			m.problem = err
		}
		a.mu.Lock()
		a.messages = append(a.messages, m)
		a.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// take returns what has arrived since the last time.
func (a *rawApp) take() []message {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.messages
	a.messages = nil
	return m
}

// letterReader reads requests by RFC 9112, without any of its leniences.
type letterReader struct {
	r   *bufio.Reader
	raw *strings.Builder
}

var (
	requestLine = regexp.MustCompile(`^[A-Z]+ [!-~]+ HTTP/1\.1$`)
	fieldLine   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[^\\x00-\\x08\\x0a-\\x1f\\x7f]*$")
	chunkLine   = regexp.MustCompile(`^[0-9a-fA-F]{1,8}$`)
)

// line reads one line without its end.
func (l *letterReader) line() (string, error) {
	line, err := l.r.ReadString('\n')
	l.raw.WriteString(line)
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsRune(line, '\r') {
		return "", fmt.Errorf("a line with a strange end: %q", line)
	}
	return line, nil
}

func (l *letterReader) fields(m *message) error {
	for {
		line, err := l.line()
		if err != nil || line == "" {
			return err
		}
		if !fieldLine.MatchString(line) {
			return fmt.Errorf("not a header line: %q", line)
		}
		m.fields = append(m.fields, line)
	}
}

func (l *letterReader) take(n int64) (string, error) {
	var b strings.Builder
	_, err := io.CopyN(&b, l.r, n)
	l.raw.WriteString(b.String())
	return b.String(), err
}

func (l *letterReader) message() (m message, err error) {
	if m.line, err = l.line(); err != nil {
		return m, err
	}
	if !requestLine.MatchString(m.line) {
		return m, fmt.Errorf("not a request line: %q", m.line)
	}
	if err := l.fields(&m); err != nil {
		return m, err
	}
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return m, fmt.Errorf("it says %d times how long it is", len(lengths)+len(codings))
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil {
			return m, fmt.Errorf("a length of %q", lengths[0])
		}
		m.body, err = l.take(int64(n))
		return m, err
	case len(codings) == 1 && codings[0] != "chunked":
		return m, fmt.Errorf("coded as %q", codings[0])
	case len(codings) == 0:
		return m, nil
	}
	for {
		size, err := l.line()
		if err != nil {
			return m, err
		}
		if !chunkLine.MatchString(size) {
			return m, fmt.Errorf("a chunk of %q", size)
		}
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return m, err
		}
		if n == 0 {
			return m, l.fields(&m)
		}
		chunk, err := l.take(n)
		if err != nil {
			return m, err
		}
		m.body += chunk
		end, err := l.line()
		if err != nil {
			return m, err
		}
		if end != "" {
			return m, fmt.Errorf("a chunk that goes on with %q", end)
		}
	}
}
