package redisstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// losesAnswers makes connections that lose the answers to what has a text in it:
// as many as are asked for, each with its connection.
type losesAnswers struct {
	text []byte
	next atomic.Int32 // how many are still to be lost
}

type losingConn struct {
	net.Conn
	all   *losesAnswers
	loses atomic.Bool
}

func (c *losingConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, c.all.text) && c.all.next.Add(-1) >= 0 {
		c.loses.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *losingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.loses.Load() {
		_ = c.Conn.Close()
		return 0, io.EOF
	}
	return n, err
}

// startLosingRedis starts a store that loses the answers to SETs with NX and PXAT.
func startLosingRedis(t *testing.T) (*redistest.Server, storetest.Contract, *losesAnswers) {
	t.Helper()
	server := redistest.Start(t)
	clock := storetest.NewClock()
	store := connect(t, config{Address: server.Addr(), Timeout: patient}, clock.Now)
	t.Cleanup(func() { _ = store.Close() })
	loses, dial := &losesAnswers{text: []byte("\r\nnx\r\n$4\r\npxat\r\n")}, store.servers.dial
	store.servers.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &losingConn{Conn: conn, all: loses}, nil
	}
	return server, storetest.Contract{T: t, Clock: clock, Store: store}, loses
}

// TestRedisCreateAnswerLost holds Create to what happened: the session is
// there, and is not taken for another one.
func TestRedisCreateAnswerLost(t *testing.T) {
	_, s, loses := startLosingRedis(t)
	key, e := storetest.NewKey(), s.NewEntry("alice")
	e.Bound = &session.Bound{Max: 1}
	loses.next.Store(1)
	storetest.NoError(t, s.Create(t.Context(), key, e))
	if loses.next.Load() > 0 {
		t.Fatal("no answer was lost: this shows nothing")
	}
	if e.Bound.Exceeded {
		t.Error("one session is said to be more than one")
	}
	s.WantRecord(t, key, session.Record{Value: e.Value})
	if err := s.Create(t.Context(), key, e); !errors.Is(err, session.ErrExists) {
		t.Errorf("again: %v, want ErrExists", err)
	}
}

// TestRedisCreateAnswerLostToAnother has another create the session first.
func TestRedisCreateAnswerLostToAnother(t *testing.T) {
	server, s, loses := startLosingRedis(t)
	key := storetest.NewKey()
	s.Store.(*Store).client.AddHook(redistest.BeforeSet(func() {
		server.CLI(t, "SET", "caddy-logout:session:{"+key.String()+"}", "another's", "EX", "600")
		loses.next.Store(1)
	}))
	if err := s.Create(t.Context(), key, s.NewEntry("alice")); !errors.Is(err, session.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	if loses.next.Load() > 0 {
		t.Fatal("no answer was lost: this shows nothing")
	}
	s.WantRecord(t, key, session.Record{Value: []byte("another's")})
}
