package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// openStreams is how many streams are open at once.
const openStreams = 10_000

// event is the first and last event of a stream.
const event = "data: first\n\n"

// eventsMain is an app whose streams last. It speaks HTTP/2, so that a Caddy with
// ten thousand clients needs few more connections.
func eventsMain(ctx context.Context, args []string) error {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true) // the rig waits by HTTP/1 until it listens
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, event)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return serveOn(ctx, args[0], server)
}

// benchStreams opens the streams with streams keep and with streams close, and
// ends the latter: those of one session by a logout, those of as many sessions of
// one person by ending them all.
func (b *bench) benchStreams(ctx context.Context, out *rig.Report) error {
	app, err := b.Role(ctx, "events")
	if err != nil {
		return err
	}
	defer app.Stop()
	gate := b.gate("")
	gate.Site = "logout\nsession_auth /kept {\nstreams keep\n}\nsession_auth /cut\nreverse_proxy h2c://" + app.Addr + "\n"
	here, err := b.startCaddy(ctx, gate)
	if err != nil {
		return err
	}
	defer here.Stop()
	there, err := b.startCaddy(ctx, gate)
	if err != nil {
		return err
	}
	defer there.Stop()
	one, err := b.fill(ctx, 1, "")
	if err != nil {
		return err
	}
	many, err := b.fill(ctx, openStreams, "streams-"+newSession("").key[:8])
	if err != nil {
		return err
	}
	out.Heading("Open streams")
	table := out.Table(strconv.Itoa(openStreams)+" server-sent event streams", "goroutines of Caddy each", "heap each, bytes", "all closed after")
	for _, row := range []struct {
		name, path string
		sessions   []session
		end        func(c *connection) error
	}{
		{"of one session, `streams keep`", "/kept", one, nil},
		{"of one session, ended by a logout on another server", "/cut", one, func(c *connection) error {
			return flows["api"].run(c, one[0].credential)
		}},
		{"of as many sessions of one person, all ended on another server", "/cut", many, func(c *connection) error {
			return c.ask(200, "DELETE /sessions?all=true"+get+"X-Session-Token: "+many[0].credential+"\r\n\r\n")
		}},
	} {
		m, err := measureStreams(ctx, here, there, row.path, row.sessions, row.end)
		if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
		closed := "they go on"
		if row.end != nil {
			closed = m.closed.Round(time.Millisecond).String()
		}
		table.Row(row.name, hundredths(m.goroutines), rounded(m.heap), closed)
	}
	table.End()
	out.Text("The time is from before the request that ends the sessions to the end of the last stream, " +
		"read by a client on the same machine.")
	return nil
}

// streamsCost are the figures of the streams; the first two are of each one.
type streamsCost struct {
	goroutines, heap float64
	closed           time.Duration
}

func measureStreams(ctx context.Context, here, there *rig.Caddy, path string, sessions []session, end func(*connection) error) (m streamsCost, err error) {
	idle, err := here.Goroutines(ctx)
	if err != nil {
		return m, err
	}
	empty, err := here.Heap(ctx)
	if err != nil {
		return m, err
	}
	s := &streamClients{}
	defer s.close()
	if err := s.open(ctx, here.Addr, path, sessions); err != nil {
		return m, err
	}
	busy, err := here.Goroutines(ctx)
	if err != nil {
		return m, err
	}
	full, err := here.Heap(ctx)
	if err != nil {
		return m, err
	}
	m.goroutines, m.heap = (busy-idle)/openStreams, (full-empty)/openStreams
	if end == nil {
		return m, nil
	}
	c, err := dial(ctx, there.Addr)
	if err != nil {
		return m, err
	}
	defer c.Close()
	since := time.Now()
	if err := end(c); err != nil {
		return m, err
	}
	all := make(chan struct{})
	go func() {
		s.reading.Wait()
		close(all)
	}()
	select {
	case <-all:
		m.closed = time.Since(since)
		return m, nil
	case <-ctx.Done():
		return m, ctx.Err()
	case <-time.After(time.Minute):
		return m, errors.New("some streams are still open after a minute")
	}
}

// streamClients are the clients, with a connection each.
type streamClients struct {
	mu      sync.Mutex
	conns   []*connection
	reading sync.WaitGroup
}

// open opens all streams, a few at a time, and waits for the first event of each.
func (s *streamClients) open(ctx context.Context, addr, path string, sessions []session) error {
	const atOnce = 32
	results := make(chan error, atOnce)
	for i := range atOnce {
		go func() {
			var err error
			for n := i; n < openStreams && err == nil; n += atOnce {
				err = s.openOne(ctx, addr, path, sessions[n%len(sessions)].credential)
				for tries := 0; errors.Is(err, errUnavailable) && tries < 20; tries++ {
					time.Sleep(100 * time.Millisecond) // a busy machine: Redis did not answer in time
					err = s.openOne(ctx, addr, path, sessions[n%len(sessions)].credential)
				}
			}
			results <- err
		}()
	}
	var all error
	for range atOnce {
		all = errors.Join(all, <-results)
	}
	return all
}

func (s *streamClients) openOne(ctx context.Context, addr, path, credential string) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return fmt.Errorf("%w (is ulimit -n above %d?)", err, openStreams)
	}
	conn.r = bufio.NewReaderSize(conn, 512) // there are many
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	if _, err := io.WriteString(conn, "GET "+path+get+"X-Session-Token: "+credential+"\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(conn.r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return errors.Join(errUnavailable, conn.Close())
	}
	first := make([]byte, len(event))
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != event {
		return errors.Join(fmt.Errorf("status %d instead of a stream", resp.StatusCode), err, resp.Body.Close())
	}
	s.reading.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
	return nil
}

// close ends the streams from the client's side, and waits for the end.
func (s *streamClients) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.reading.Wait()
}
