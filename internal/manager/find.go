package manager

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// Found is what the store and the format say of one credential.
type Found struct {
	Session   *session.Session // live, or nil
	RevokedAt time.Time        // of a tombstone, or zero
	Pending   bool             // its logout waits for the store
	LastUsed  time.Time        // of a live session, as far as this server knows
	Changes   uint64           // what was reported of the key before it was looked up
	Known     *nearcache.Entry // of a live session
	At        time.Time        // of the look-up
}

// Lookup asks the near cache, else the store in one round trip, about one
// credential.
func (m *Manager) Lookup(ctx context.Context, c session.Credential) (Found, error) {
	return m.LookupKey(ctx, m.Format.Key(c))
}

// LookupKey asks about one key, and notes the use of its session.
func (m *Manager) LookupKey(ctx context.Context, key session.Key) (Found, error) {
	open, err := m.OpenStore()
	if err != nil {
		return Found{}, err
	}
	return m.ask(ctx, open, key, m.touch, open.Cache.Counts())
}

// Peek looks one key up for another person or program: to be listed does not count as
// using a session, and must not keep an idle one alive.
func (m *Manager) Peek(ctx context.Context, key session.Key) (Found, error) {
	open, err := m.OpenStore()
	if err != nil {
		return Found{}, err
	}
	return m.ask(ctx, open, key, func(context.Context, *Opened, *nearcache.Entry, time.Time) {}, nil)
}

// noteUse is told of each session that was found live.
type noteUse = func(ctx context.Context, open *Opened, known *nearcache.Entry, now time.Time)

func (m *Manager) ask(ctx context.Context, open *Opened, key session.Key, note noteUse, counts *telemetry.CheckCounts) (Found, error) {
	if m.IsPending(key) {
		counts.Add(telemetry.CheckPending)
		return Found{Pending: true}, nil
	}
	if m.isKept(key) {
		return m.askKept(ctx, open, key)
	}
	now, changes := m.Now(), open.Streams.ChangesOf(key)
	// Another server may know of a later use than the cache does: a session that
	// seems idle is looked up again.
	if known := open.Cache.Get(key, now); known != nil && !m.SeemsIdle(known, now) {
		counts.AddHit(known.Session != nil)
		return m.judge(ctx, open, known, now, changes, note), nil
	}
	known, err := m.readThrough(ctx, open, key, now)
	counts.AddRead(known != nil && known.Session != nil, err)
	if err != nil {
		return Found{}, err
	}
	return m.judge(ctx, open, known, now, changes, note), nil
}

// readThrough asks the store, and lets the near cache keep what it says.
func (m *Manager) readThrough(ctx context.Context, open *Opened, key session.Key, now time.Time) (*nearcache.Entry, error) {
	ctx, span := telemetry.StartSpan(ctx, telemetry.CheckSpan)
	known, err := open.Cache.Fill(ctx, key, now, func(ctx context.Context) (*nearcache.Entry, error) {
		return m.read(ctx, open, key)
	})
	telemetry.EndCheck(span, known != nil && known.Session != nil, err)
	return known, err
}

// read asks the store about one key.
func (m *Manager) read(ctx context.Context, open *Opened, key session.Key) (*nearcache.Entry, error) {
	get := open.Get
	if m.IdleTimeout > 0 {
		get = open.GetWithUse
	}
	record, err := get(ctx, key)
	if err != nil {
		return nil, err
	}
	return m.decode(open, key, record)
}

// decode reads the record of a key. A tombstone wins over a value that is there:
// whatever wrote the value back, the session was ended.
func (m *Manager) decode(open *Opened, key session.Key, record session.Record) (*nearcache.Entry, error) {
	switch {
	case !record.RevokedAt.IsZero():
		return &nearcache.Entry{RevokedAt: record.RevokedAt}, nil
	case record.Value == nil:
		return new(nearcache.Entry), nil
	}
	s, err := m.Format.Decode(key, record.Value)
	if err != nil {
		// Perhaps a newer version wrote it, in a rolling upgrade. To call that
		// an ended session would sign people out, so it is an outage.
		m.Logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	known := &nearcache.Entry{Session: s}
	known.LastUsed.Store(s.IssuedAt.UnixMilli())
	if used := session.Later(record.LastUsed, open.Uses.missedUse(key)); used.After(s.IssuedAt) {
		known.LastUsed.Store(used.UnixMilli())
	}
	return known, nil
}

// judge decides whether what is known of a key is a live session at time now.
func (m *Manager) judge(ctx context.Context, open *Opened, known *nearcache.Entry, now time.Time, changes uint64, note noteUse) Found {
	s := known.Session
	if s == nil {
		return Found{RevokedAt: known.RevokedAt}
	}
	if !s.Live(now) || m.idle(ctx, open, known, now) {
		return Found{}
	}
	if m.IdleTimeout > 0 {
		note(ctx, open, known, now)
	}
	return Found{Session: s, Known: known, Changes: changes, At: now, LastUsed: time.UnixMilli(known.LastUsed.Load())}
}

// SeemsIdle reports whether a session was not used for longer than idle_timeout,
// as far as is known: another server may know of a later use, and a use may not
// have been noted.
func (m *Manager) SeemsIdle(known *nearcache.Entry, now time.Time) bool {
	return m.IdleTimeout > 0 && known.Session != nil &&
		now.UnixMilli()-known.LastUsed.Load() >= m.IdleTimeout.Milliseconds()
}

// idle reports whether a session that was just read was not used for longer than
// idle_timeout. It is the one judgement that ends a session for that.
func (m *Manager) idle(ctx context.Context, open *Opened, known *nearcache.Entry, now time.Time) bool {
	return m.SeemsIdle(known, now) && !open.Uses.mayHaveMissed(ctx, m.idleAt(known), now, m.IdleTimeout)
}

// surelyIdle is idle without asking the store anything.
func (m *Manager) surelyIdle(open *Opened, known *nearcache.Entry, now time.Time) bool {
	return m.SeemsIdle(known, now) && !open.Uses.excuses(m.idleAt(known), now, m.IdleTimeout)
}

// idleAt returns when a session is idle if it is not used until then.
func (m *Manager) idleAt(known *nearcache.Entry) time.Time {
	return time.UnixMilli(known.LastUsed.Load()).Add(m.IdleTimeout)
}

// touch notes the use of a session, at most once per tenth of idle_timeout; of
// many requests at once, one does it. The session is live whatever becomes of the
// note, and a client that goes away is no reason to miss one. The note lasts as
// long as the session: an idle_timeout that a reload makes longer finds it.
func (m *Manager) touch(ctx context.Context, open *Opened, known *nearcache.Entry, now time.Time) {
	last := known.LastUsed.Load()
	if now.UnixMilli()-last < (m.IdleTimeout/10).Milliseconds() || !known.LastUsed.CompareAndSwap(last, now.UnixMilli()) {
		return
	}
	open.Uses.note(ctx, open, known.Session.Key, now, known.Session.ExpiresAt)
}

// OfSession reports whether the key is, or was, that of a session.
func (f *Found) OfSession() bool {
	return f.Session != nil || f.Pending || !f.RevokedAt.IsZero()
}
