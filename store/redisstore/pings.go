package redisstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// errPong says that a PING was answered with what was not sent.
var errPong = errors.New("the response to PING fits no PING")

// pings remembers when each unanswered PING was sent. The time is kept here and
// not sent along: it has two readings, of a clock that stands still while the
// machine is suspended and of one that can be set, and a proof needs both.
type pings struct {
	clock func() time.Time

	mu   sync.Mutex
	last uint64
	sent map[uint64]time.Time
}

func newPings(clock func() time.Time) *pings {
	return &pings{clock: clock, sent: make(map[uint64]time.Time)}
}

// next notes a PING that is sent now and returns its text.
func (p *pings) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.sent[p.last] = p.clock()
	return strconv.FormatUint(p.last, 10)
}

// answered returns when the PING with this text was sent. Redis keeps the order:
// those before it are not waited for any more.
func (p *pings) answered(text string) (time.Time, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return time.Time{}, errPong
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, ok := p.sent[number]
	if !ok {
		return time.Time{}, errPong
	}
	for each := range p.sent {
		if each <= number {
			delete(p.sent, each)
		}
	}
	return sent, nil
}

func (p *pings) send(ctx context.Context, connection *redis.PubSub) error {
	return connection.Ping(ctx, p.next())
}

// keep sends a PING again and again until ctx ends.
func (p *pings) keep(ctx context.Context, connection *redis.PubSub) {
	for range ticks(ctx, watchPing) {
		_ = p.send(ctx, connection) // if it fails, no response comes
	}
}
