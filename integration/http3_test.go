// An HTTP/3 client that sends frames exactly as the tests write them, which no client
// library does.

package integration_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// The types of frames and streams (RFC 9114, sections 6.2.1 and 7.2).
const (
	http3Data, http3Headers, http3Settings = 0x0, 0x1, 0x4
	http3Control                           = 0x0
)

// http3Conn is a connection with one request.
type http3Conn struct {
	conn   *quic.Conn
	stream *quic.Stream
	reader quicvarint.Reader
}

// dialHTTP3 connects, and opens the stream of a request.
func dialHTTP3(t *testing.T, addr string, config *tls.Config) *http3Conn {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"h3"}
	conn, err := quic.DialAddr(t.Context(), addr, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") }) // H3_NO_ERROR
	control, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	_, err = control.Write([]byte{http3Control, http3Settings, 0})
	stream, openErr := conn.OpenStream()
	if err := errors.Join(err, openErr); err != nil {
		t.Fatal(err)
	}
	if err := stream.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	return &http3Conn{conn: conn, stream: stream, reader: quicvarint.NewReader(stream)}
}

// frame sends one frame, and perhaps the end of the request.
func (c *http3Conn) frame(end bool, kind uint64, payload []byte) error {
	frame := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	_, err := c.stream.Write(append(frame, payload...))
	if end {
		err = errors.Join(err, c.stream.Close())
	}
	return err
}

// headers sends a header block.
func (c *http3Conn) headers(end, _ bool, lines ...string) error {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, line := range lines {
		f := field(line)
		if err := encoder.WriteField(qpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			return err
		}
	}
	return c.frame(end, http3Headers, block.Bytes())
}

// data sends a part of the body.
func (c *http3Conn) data(end bool, data string) error { return c.frame(end, http3Data, []byte(data)) }

// next reads what comes next of the answer: its header, as fields, or a part of
// its body. ended says that no more follows.
func (c *http3Conn) next() (header, data string, ended bool, err error) {
	for {
		kind, err := quicvarint.Read(c.reader)
		if errors.Is(err, io.EOF) {
			return "", "", true, nil
		}
		if err != nil {
			return "", "", true, err
		}
		length, err := quicvarint.Read(c.reader)
		if err != nil {
			return "", "", true, err
		}
		if length > 1<<20 {
			return "", "", true, fmt.Errorf("a frame of %d bytes", length)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(c.reader, payload); err != nil {
			return "", "", true, err
		}
		switch kind {
		case http3Data:
			return "", string(payload), false, nil
		case http3Headers:
			decode, header := qpack.NewDecoder().Decode(payload), ""
			for {
				f, err := decode()
				if errors.Is(err, io.EOF) {
					return header, "", false, nil
				}
				if err != nil {
					return "", "", true, err
				}
				header += f.Name + ": " + f.Value + "\n"
			}
		}
	}
}
