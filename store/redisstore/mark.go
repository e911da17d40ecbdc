// SWAPDB exchanges a database for another, and Redis 7.0 does not report it to the
// connections that listen. A mark in the database shows it.

package redisstore

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-logout/caddy-logout/session"
)

// markLife is how long a mark lasts in Redis: longer than until the next look, and
// not for long when its listener has gone.
const markLife = 4 * watchServer

// databaseMark is a value that a listener leaves in the database, to see whether
// it is still the same one. It is held in memory for as long as it must be there.
type databaseMark struct {
	key   string
	held  string // empty: nothing is expected
	until time.Time
}

// changed reports whether found, read before now, is not what must be there.
func (m databaseMark) changed(found string, now time.Time) bool {
	return m.held != "" && session.Within(now, m.until) && found != m.held
}

// checkMark reads the mark and leaves another, in one round trip. Where the server
// takes no writes there is no mark: then the minute that an entry lives is the
// bound.
func (l *listener) checkMark(ctx context.Context, client *redis.Client) {
	next, sent := rand.Text(), time.Now()
	pipe := client.Pipeline()
	found := pipe.Get(ctx, l.mark.key)
	set := pipe.Do(ctx, "set", l.mark.key, next, "px", markLife.Milliseconds())
	_, _ = pipe.Exec(ctx)
	l.markMu.Lock()
	defer l.markMu.Unlock()
	// Without a response, the command may or may not have been executed.
	read := found.Err() == nil && found.Val() != "" || isNil(found.Err())
	if read && l.mark.changed(found.Val(), time.Now()) {
		l.watch.sink.ChangedAll()
	}
	l.mark.held = ""
	if set.Err() == nil && set.Val() != nil {
		l.mark.held, l.mark.until = next, sent.Add(markLife)
	}
}

// forgetMark expects no mark: the whole database was reported to have changed.
func (l *listener) forgetMark() {
	l.markMu.Lock()
	defer l.markMu.Unlock()
	l.mark.held = ""
}
