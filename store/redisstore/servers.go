// Behind a name or a load balancer, connections may lead to different Redis processes.
// The notifications of one process prove nothing about another.

package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	// errSeveralServers says that connections to one address lead to different
	// processes.
	errSeveralServers = errors.New("connections lead to different servers")
	// errNoRunID says that a server does not tell which process it is.
	errNoRunID = errors.New("the server does not answer INFO with its run id")
	// errNoCluster says that a server which was a node of a Cluster no
	// longer is one. It would answer that it holds no session.
	errNoCluster = errors.New("the server is no node of a cluster")
)

// sweepEvery bounds how often connections are closed because of a switch: a load
// balancer that sends each connection elsewhere must not close all of them all
// the time.
const sweepEvery = time.Second

// servers holds the open connections of a store, those of its listeners
// among them.
type servers struct {
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	inCluster bool

	mu     sync.Mutex
	open   map[*serverConn]struct{}
	naming map[string]*serverConn // by the text that a new connection sends
	newest map[string]string      // by group: where the newest connection leads
	swept  time.Time
	err    error            // the last one passed to tell
	tell   func(err error)  // nil: no subscriber
	clock  func() time.Time // for swept
}

func newServers(options *redis.UniversalOptions, inCluster bool) *servers {
	return &servers{
		dial:      redis.NewDialer(&redis.Options{DialTimeout: options.DialTimeout, TLSConfig: options.TLSConfig}),
		inCluster: inCluster,
		open:      make(map[*serverConn]struct{}),
		naming:    make(map[string]*serverConn),
		newest:    make(map[string]string),
		clock:     time.Now,
	}
}

// serverConn is one connection. The library does not say which connection it hands
// to OnConnect, so that one sends a text by which it is found here.
type serverConn struct {
	net.Conn
	servers *servers
	group   string // those of one group have to lead to one process
	named   atomic.Bool

	// The lock of servers guards these.
	known bool   // it was asked
	run   string // the run id of the process; empty if it does not tell
}

// Dial is the dialer of all clients of the store.
func (s *servers) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := s.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &serverConn{Conn: conn, servers: s}
	if s.inCluster {
		c.group = addr
	}
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	if raw, ok := conn.(syscall.Conn); ok {
		// With it, the library sees that an idle connection was closed.
		return struct {
			*serverConn
			syscall.Conn
		}{c, raw}, nil
	}
	return c, nil
}

// Write looks for the text in what a new connection sends.
func (c *serverConn) Write(b []byte) (int, error) {
	if !c.named.Load() {
		c.servers.findName(c, b)
	}
	return c.Conn.Write(b)
}

func (s *servers) findName(c *serverConn, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := range s.naming {
		if bytes.Contains(b, []byte(text)) {
			s.naming[text] = c
			c.named.Store(true)
		}
	}
}

// Close forgets the connection, and closes it first: it must not bring anything
// after its process was said not to matter.
func (c *serverConn) Close() error {
	err := c.Conn.Close()
	c.servers.mu.Lock()
	defer c.servers.mu.Unlock()
	delete(c.servers.open, c)
	c.servers.compare()
	return err
}

// identify asks a new connection where it leads, in one round trip, before it is
// used for anything else.
func (s *servers) identify(ctx context.Context, conn *redis.Conn) error {
	name := rand.Text()
	s.mu.Lock()
	s.naming[name] = nil
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.naming, name)
	}()
	pipe := conn.Pipeline()
	// Every user may say HELLO, whatever the ACL; without arguments, it changes
	// nothing.
	hello := pipe.Do(ctx, "hello")
	pipe.Do(ctx, "ping", name)
	info := pipe.Do(ctx, "info", "server")
	if _, err := pipe.Exec(ctx); err != nil {
		if _, ok := errors.AsType[redis.Error](err); !ok {
			return fmt.Errorf("info: %w", err)
		}
	}
	if s.inCluster && !saysCluster(hello) {
		return errNoCluster
	}
	text, _ := info.Text() // an error: it does not tell
	s.mu.Lock()
	c := s.naming[name]
	if c == nil {
		s.mu.Unlock()
		return errNoRunID // not one of ours: cannot be
	}
	c.known, c.run = true, runID(text)
	s.newest[c.group] = c.run
	s.compare()
	s.mu.Unlock()
	s.settle()
	return nil
}

// saysCluster reports whether a server is a node of a Cluster. One that does not
// know HELLO is not asked for its mode.
func saysCluster(hello *redis.Cmd) bool {
	answer, ok := hello.Val().(map[any]any)
	if !ok {
		return true
	}
	mode, ok := answer["mode"].(string)
	return !ok || mode == "cluster"
}

// runID reads the run id out of INFO: 40 hex digits, made anew by each process.
func runID(info string) string {
	for line := range strings.Lines(info) {
		id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:")
		if ok && len(id) == 40 && strings.Trim(id, "0123456789abcdef") == "" {
			return id
		}
	}
	return ""
}

// compare reports whether all connections of each group lead to one process.
// The lock is held, so that a connection is not used before the result is
// known.
func (s *servers) compare() {
	var err error
	runs := make(map[string]string, 1)
	for c := range s.open {
		if !c.known {
			continue // it is not used yet
		}
		if c.run == "" {
			err = errNoRunID
			break
		}
		if run, ok := runs[c.group]; ok && run != c.run {
			err = errSeveralServers
		}
		runs[c.group] = c.run
	}
	if s.err == err { //nolint:errorlint // the same value
		return
	}
	s.err = err
	if s.tell != nil {
		s.tell(err)
	}
}

// settle closes the connections that lead to another process than the newest
// one of their group does: a read through one of them would not know of what
// was revoked since. Commands in flight on one of them are sent again on a new
// connection.
func (s *servers) settle() {
	s.mu.Lock()
	now := s.clock()
	if s.err == nil || now.Sub(s.swept) < sweepEvery {
		s.mu.Unlock()
		return
	}
	s.swept = now
	var old []*serverConn
	for c := range s.open {
		// Where the newest one does not tell either, there is no better one.
		if newest := s.newest[c.group]; c.known && newest != "" && c.run != newest {
			old = append(old, c)
		}
	}
	s.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// watch has tell called with what compare finds, now and whenever that changes.
func (s *servers) watch(tell func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = tell
	if tell != nil {
		tell(s.err)
	}
}
