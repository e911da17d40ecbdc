package streams

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// abortAfter is how long a handler has to end a request that was cut. Those that
// look at its context do so at once, and in their own way.
const abortAfter = 100 * time.Millisecond

// unfinished holds the requests that were cut and are still being served.
type unfinished struct {
	mu   sync.Mutex
	all  map[*Stream]time.Time // since when
	work sync.WaitGroup        // what closes connections
}

// add notes a request that is cut now.
func (u *unfinished) add(st *Stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = make(map[*Stream]time.Time)
	}
	u.all[st] = time.Now()
}

// remove takes a served request out. When it returns, nothing uses its writer any
// more.
func (u *unfinished) remove(st *Stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, st)
}

// abort closes the client's side of requests that their handlers did not end in time:
// a handler that waits for an app may ignore the context of the request, as Caddy's
// FastCGI transport does. It leaves responses that have not begun to the handlers,
// which replace them.
func (u *unfinished) abort() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for st, since := range u.all {
		if time.Since(since) < abortAfter || !st.Sent.Load() {
			continue
		}
		delete(u.all, st)
		u.abortOne(st)
	}
}

// abortOne closes the client's side. The lock is held, so the writer is in use.
func (u *unfinished) abortOne(st *Stream) {
	if st.major == 1 {
		if conn, ok := st.ctx.Value(caddyhttp.ConnCtxKey).(net.Conn); ok {
			// With TLS it sends an alert, which blocks while the client does not
			// read.
			u.work.Go(func() { _ = conn.Close() })
		}
		return
	}
	// On a connection of many requests, HTTP/2 resets the one stream whose write
	// deadline has passed. HTTP/3 does not: there it ends what the app writes.
	// It is set on the server's own writer: those around it are Caddy's, and keep
	// what they set for the goroutine that serves the request alone.
	w := st.writer
	for {
		around, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = around.Unwrap()
	}
	if w, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = w.SetWriteDeadline(time.Unix(1, 0))
	}
}

// KeepConnection has a server keep the connection of each request at hand.
func KeepConnection(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return // checked by itself, without a server
	}
	server.RegisterConnContext(func(ctx context.Context, c net.Conn) context.Context {
		if ctx.Value(caddyhttp.ConnCtxKey) != nil {
			return ctx
		}
		return context.WithValue(ctx, caddyhttp.ConnCtxKey, c)
	})
}
