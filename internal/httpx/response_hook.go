package httpx

import (
	"context"
	"io"
	"math"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// headerHook sees a response before its header goes out: w is the writer behind
// the hook, with the header as the app made it. It returns true if it has
// answered on w itself; the app's body is then dropped. It is called for each
// informational response as well, which cannot be answered otherwise.
type headerHook func(w http.ResponseWriter, status int) (answered bool)

// HookedWriter is a response writer with a [headerHook]. It stays one that can flush,
// hijack and copy from a file.
type HookedWriter struct {
	caddyhttp.ResponseWriterWrapper
	hook     headerHook
	Wrote    bool
	dropBody bool
	// Until ends the body when it is done, nil for never.
	Until context.Context
	// Sent notes that the response has begun; nil without a subscriber.
	Sent *atomic.Bool
	// BrokeOff says that it did, and that what was sent is not whole.
	BrokeOff bool
}

// HookResponse returns a writer that calls hook before the header of a response is sent.
func HookResponse(w http.ResponseWriter, hook headerHook) *HookedWriter {
	return &HookedWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, hook: hook}
}

// over reports whether nothing more may be sent.
func (x *HookedWriter) over() bool {
	if x.Until == nil || x.Until.Err() == nil {
		return false
	}
	x.BrokeOff = true
	return true
}

// Informational reports whether a response is followed by another one. After
// 101 the connection speaks something else, so it is the last.
func Informational(status int) bool {
	return status >= 100 && status <= 199 && status != http.StatusSwitchingProtocols
}

// WriteHeader implements http.ResponseWriter.
func (x *HookedWriter) WriteHeader(status int) {
	if x.Wrote {
		return
	}
	if Informational(status) {
		x.hook(&x.ResponseWriterWrapper, status)
		x.ResponseWriterWrapper.WriteHeader(status)
		return
	}
	x.Wrote = true
	if x.dropBody = x.hook(&x.ResponseWriterWrapper, status); !x.dropBody {
		x.ResponseWriterWrapper.WriteHeader(status)
		if x.Sent != nil {
			x.Sent.Store(true)
		}
	}
}

// Finish sends the header of a response without a body, which a handler may
// leave to the server.
func (x *HookedWriter) Finish() {
	if !x.Wrote {
		x.WriteHeader(http.StatusOK)
	}
}

// Write implements http.ResponseWriter.
func (x *HookedWriter) Write(data []byte) (int, error) {
	x.Finish()
	if x.dropBody {
		return len(data), nil
	}
	if x.over() {
		return 0, context.Cause(x.Until)
	}
	return x.ResponseWriterWrapper.Write(data)
}

// copyAtOnce is how much of a copy goes on without a look at until, in bytes: as
// much as a slow client may still get of a file after its session has ended.
const copyAtOnce = 64 << 10

// ReadFrom keeps a copy to the writer from going past Write. It hands on what a
// kernel can copy by itself: a file, or a part of one.
func (x *HookedWriter) ReadFrom(src io.Reader) (int64, error) {
	x.Finish()
	if x.dropBody {
		return io.Copy(io.Discard, src)
	}
	if x.Until == nil {
		return x.ResponseWriterWrapper.ReadFrom(src)
	}
	part, ok := src.(*io.LimitedReader)
	if !ok {
		part = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	var copied int64
	for part.N > 0 {
		if x.over() {
			return copied, context.Cause(x.Until)
		}
		most := min(part.N, copyAtOnce)
		n, err := x.ResponseWriterWrapper.ReadFrom(&io.LimitedReader{R: part.R, N: most})
		copied += n
		part.N -= n
		if err != nil || n < most {
			return copied, err
		}
	}
	return copied, nil
}

// FlushError implements what http.ResponseController looks for: a flush sends
// the header too, which must not go out unwatched.
func (x *HookedWriter) FlushError() error {
	x.Finish()
	return http.NewResponseController(&x.ResponseWriterWrapper).Flush()
}

// Discarder is a response writer that keeps the header of a response and nothing
// of its body. It cannot be hijacked: a connection is not a logout's to give away.
type Discarder struct {
	header http.Header
	sent   http.Header // as it was when the header went out
	status int         // 0 until then
}

// NewDiscarder returns one for a response that has not begun.
func NewDiscarder() *Discarder { return &Discarder{header: make(http.Header)} }

// Result returns the status, 0 if the handler has sent none, and the header.
func (d *Discarder) Result() (status int, header http.Header) {
	if d.sent == nil {
		return d.status, d.header
	}
	return d.status, d.sent
}

// Header implements http.ResponseWriter.
func (d *Discarder) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *Discarder) WriteHeader(status int) {
	if d.status == 0 && !Informational(status) {
		d.status, d.sent = status, d.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (d *Discarder) Write(data []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return len(data), nil
}

// ReadFrom reads to the end, within the time that the request has.
func (d *Discarder) ReadFrom(src io.Reader) (int64, error) {
	d.WriteHeader(http.StatusOK)
	return io.Copy(io.Discard, src)
}

// FlushError implements what http.ResponseController looks for.
func (d *Discarder) FlushError() error {
	d.WriteHeader(http.StatusOK)
	return nil
}

// Interface guards.
var (
	_ http.ResponseWriter = (*HookedWriter)(nil)
	_ io.ReaderFrom       = (*HookedWriter)(nil)
	_ http.ResponseWriter = (*Discarder)(nil)
)
