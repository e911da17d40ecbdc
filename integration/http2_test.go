// An HTTP/2 client that sends frames exactly as the tests write them, which no client
// library does.

package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is a connection over which requests are sent one after the other.
type http2Conn struct {
	conn    net.Conn
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32 // of the last request
	// extendedConnect says that the server takes WebSockets (RFC 8441, section 3).
	extendedConnect bool
}

// withHTTP2 has a Caddyfile serve HTTP/2 without TLS as well.
func withHTTP2(caddyfile string) string {
	return strings.Replace(caddyfile, "{\n", "{\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n", 1)
}

// dialHTTP2 connects with prior knowledge.
func dialHTTP2(t *testing.T, s *caddyServer) *http2Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	return newHTTP2(t, conn)
}

// newHTTP2 begins HTTP/2 on a connection.
func newHTTP2(t *testing.T, conn net.Conn) *http2Conn {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	c := &http2Conn{conn: conn, framer: http2.NewFramer(conn, conn)}
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err := conn.Write([]byte(http2.ClientPreface))
	if err := errors.Join(err, c.framer.WriteSettings(), conn.SetDeadline(time.Now().Add(startTimeout))); err != nil {
		t.Fatal(err)
	}
	if frame, err := c.framer.ReadFrame(); err != nil {
		t.Fatal(err)
	} else if settings, ok := frame.(*http2.SettingsFrame); !ok {
		t.Fatalf("the server began with %v", frame.Header())
	} else {
		value, _ := settings.Value(http2.SettingEnableConnectProtocol)
		c.extendedConnect = value == 1
	}
	if err := c.framer.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	return c
}

// field cuts "name: value". A pseudo-header begins with a colon.
func field(line string) hpack.HeaderField {
	name, value, _ := strings.Cut(line[1:], ": ")
	return hpack.HeaderField{Name: line[:1] + name, Value: value}
}

// headers sends a header block: of the next request, or, as trailers, of the
// last one.
func (c *http2Conn) headers(end, trailers bool, lines ...string) error {
	c.encoded.Reset()
	for _, line := range lines {
		if err := c.encoder.WriteField(field(line)); err != nil {
			return err
		}
	}
	if !trailers {
		c.stream += 1 + c.stream%2 // 1, 3, 5 …
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.stream, BlockFragment: c.encoded.Bytes(), EndHeaders: true, EndStream: end,
	})
}

// data sends a part of the body of the last request.
func (c *http2Conn) data(end bool, data string) error {
	return c.framer.WriteData(c.stream, end, []byte(data))
}

// errReset is what a server says that takes a request for malformed.
var errReset = errors.New("the server reset the stream")

// next reads what comes next of the answer to the last request: its header, as
// fields, or a part of its body. ended says that no more follows.
func (c *http2Conn) next() (header, data string, ended bool, err error) {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return "", "", true, err
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			if !f.IsAck() {
				err = c.framer.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			return "", "", true, fmt.Errorf("the server goes away: %v", f.ErrCode)
		case *http2.RSTStreamFrame:
			if f.StreamID == c.stream && f.ErrCode != http2.ErrCodeNo {
				return "", "", true, fmt.Errorf("%w: %v", errReset, f.ErrCode)
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID != c.stream {
				continue
			}
			var b strings.Builder
			for _, field := range f.Fields {
				b.WriteString(field.Name + ": " + field.Value + "\n")
			}
			return b.String(), "", f.StreamEnded(), nil
		case *http2.DataFrame:
			if f.StreamID == c.stream {
				return "", string(f.Data()), f.StreamEnded(), nil
			}
		}
		if err != nil {
			return "", "", true, err
		}
	}
}

// status reads an answer to its end, and returns its :status.
func (c *http2Conn) status() (string, error) {
	status := ""
	for {
		header, _, ended, err := c.next()
		if err != nil {
			return status, err
		}
		if first, _, _ := strings.Cut(header, "\n"); strings.HasPrefix(first, ":status: ") && status == "" {
			status = strings.TrimPrefix(first, ":status: ")
		}
		if ended {
			return status, nil
		}
	}
}
