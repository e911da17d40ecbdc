// This file answers who a request comes from: the one way from a credential
// through key, store and format to a live session.

package caddylogout

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// authVar is the request variable that holds what authenticate found, so that a
// matcher, the gate and a handler of one request ask the store once.
const authVar = "sessions.auth"

// authResult is what the credentials of one request came to.
type authResult struct {
	// session is the live session, nil if there is none.
	session *session.Session
	// credential is the one that session belongs to.
	credential session.Credential
	// deadCookie says that the request carries session cookies and that the
	// store knows none of them to be live: they are to be cleared.
	deadCookie bool
	// missed says that no live session was found, but that the request carries
	// more session cookies than were looked at: nobody may be told that there is
	// none.
	missed bool
	// strangers are the bearer tokens that were looked up and are no session's.
	strangers []string
	// traits are those of the session, flat, once a placeholder of one was asked for.
	traits map[string]string
	// changes is what streams wants to know of the time of the look-up, foundAt.
	changes uint64
	foundAt time.Time
	// known is what this server keeps of the session.
	known *nearcache.Entry
	// app is the configuration that serves the request.
	app *App
	// stream is the request itself, while it is being served for the session.
	stream *stream
	// gated says that a gate has cleaned the request and told the app.
	gated bool
}

// String hides what must not be printed: request variables can be.
func (res *authResult) String() string {
	if res.session == nil {
		return "anonymous"
	}
	return "session " + res.session.Key.Short()
}

// GoString hides the same.
func (res *authResult) GoString() string { return res.String() }

// lookupResult is what the store and the format say of one credential.
type lookupResult struct {
	session   *session.Session // live, or nil
	revokedAt time.Time        // of a tombstone, or zero
	pending   bool             // its logout waits for the store
	lastUsed  time.Time        // of a live session, as far as this server knows
	changes   uint64           // what was reported of the key before it was looked up
	known     *nearcache.Entry // of a live session
	at        time.Time        // of the look-up
}

// lookup asks the near cache, else the store in one round trip, about one
// credential.
func (a *App) lookup(ctx context.Context, c session.Credential) (lookupResult, error) {
	return a.lookupKey(ctx, a.format.Key(c))
}

// lookupKey asks about one key, and notes the use of its session.
func (a *App) lookupKey(ctx context.Context, key session.Key) (lookupResult, error) {
	open, err := a.openStore()
	if err != nil {
		return lookupResult{}, err
	}
	return a.ask(ctx, open, key, a.touch, open.cache.Counts())
}

// peek asks about one key for somebody else: to be looked at in a list is no
// use, and must not keep an idle session alive.
func (a *App) peek(ctx context.Context, key session.Key) (lookupResult, error) {
	open, err := a.openStore()
	if err != nil {
		return lookupResult{}, err
	}
	return a.ask(ctx, open, key, func(context.Context, *opened, *nearcache.Entry, time.Time) {}, nil)
}

// noteUse is told of each session that was found live.
type noteUse = func(ctx context.Context, open *opened, known *nearcache.Entry, now time.Time)

func (a *App) ask(ctx context.Context, open *opened, key session.Key, note noteUse, counts *telemetry.CheckCounts) (lookupResult, error) {
	if a.isPending(key) {
		counts.Add(telemetry.CheckPending)
		return lookupResult{pending: true}, nil
	}
	if a.isKept(key) {
		return a.askKept(ctx, open, key)
	}
	now, changes := a.now(), open.streams.changesOf(key)
	// Another server may know of a later use than the cache does: whoever seems
	// to be idle is looked up again.
	if known := open.cache.Get(key, now); known != nil && !a.seemsIdle(known, now) {
		counts.AddHit(known.Session != nil)
		return a.judge(ctx, open, known, now, changes, note), nil
	}
	known, err := a.readThrough(ctx, open, key, now)
	counts.AddRead(known != nil && known.Session != nil, err)
	if err != nil {
		return lookupResult{}, err
	}
	return a.judge(ctx, open, known, now, changes, note), nil
}

// readThrough asks the store, and lets the near cache keep what it says.
func (a *App) readThrough(ctx context.Context, open *opened, key session.Key, now time.Time) (*nearcache.Entry, error) {
	ctx, span := telemetry.StartSpan(ctx, telemetry.CheckSpan)
	known, err := open.cache.Fill(ctx, key, now, func(ctx context.Context) (*nearcache.Entry, error) {
		return a.read(ctx, open, key)
	})
	telemetry.EndCheck(span, known != nil && known.Session != nil, err)
	return known, err
}

// read asks the store about one key.
func (a *App) read(ctx context.Context, open *opened, key session.Key) (*nearcache.Entry, error) {
	get := open.Get
	if a.IdleTimeout > 0 {
		get = open.GetWithUse
	}
	record, err := get(ctx, key)
	if err != nil {
		return nil, err
	}
	return a.decode(open, key, record)
}

// decode reads the record of a key. A tombstone wins over a value that is there:
// whatever wrote the value back, the session was ended.
func (a *App) decode(open *opened, key session.Key, record session.Record) (*nearcache.Entry, error) {
	switch {
	case !record.RevokedAt.IsZero():
		return &nearcache.Entry{RevokedAt: record.RevokedAt}, nil
	case record.Value == nil:
		return new(nearcache.Entry), nil
	}
	s, err := a.format.Decode(key, record.Value)
	if err != nil {
		// Perhaps a newer version wrote it, in a rolling upgrade. To call that
		// a dead session would sign people out, so it is an outage.
		a.logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	known := &nearcache.Entry{Session: s}
	known.LastUsed.Store(s.IssuedAt.UnixMilli())
	if used := session.Later(record.LastUsed, open.uses.missedUse(key)); used.After(s.IssuedAt) {
		known.LastUsed.Store(used.UnixMilli())
	}
	return known, nil
}

// judge says what is known of a key comes to now.
func (a *App) judge(ctx context.Context, open *opened, known *nearcache.Entry, now time.Time, changes uint64, note noteUse) lookupResult {
	s := known.Session
	if s == nil {
		return lookupResult{revokedAt: known.RevokedAt}
	}
	if !s.Live(now) || a.idle(ctx, open, known, now) {
		return lookupResult{}
	}
	if a.IdleTimeout > 0 {
		note(ctx, open, known, now)
	}
	return lookupResult{session: s, known: known, changes: changes, at: now, lastUsed: time.UnixMilli(known.LastUsed.Load())}
}

// seemsIdle reports whether a session was not used for longer than idle_timeout,
// as far as is known: another server may know of a later use, and a use may not
// have been noted.
func (a *App) seemsIdle(known *nearcache.Entry, now time.Time) bool {
	return a.IdleTimeout > 0 && known.Session != nil &&
		now.UnixMilli()-known.LastUsed.Load() >= time.Duration(a.IdleTimeout).Milliseconds()
}

// idle reports whether a session that was just read was not used for longer than
// idle_timeout. It is the one judgement that ends a session for that.
func (a *App) idle(ctx context.Context, open *opened, known *nearcache.Entry, now time.Time) bool {
	return a.seemsIdle(known, now) && !open.uses.mayHaveMissed(ctx, a.idleAt(known), now, time.Duration(a.IdleTimeout))
}

// surelyIdle is idle without asking the store anything.
func (a *App) surelyIdle(open *opened, known *nearcache.Entry, now time.Time) bool {
	return a.seemsIdle(known, now) && !open.uses.excuses(a.idleAt(known), now, time.Duration(a.IdleTimeout))
}

// idleAt returns when a session is idle if it is not used until then.
func (a *App) idleAt(known *nearcache.Entry) time.Time {
	return time.UnixMilli(known.LastUsed.Load()).Add(time.Duration(a.IdleTimeout))
}

// touch notes the use of a session, at most once per tenth of idle_timeout; of
// many requests at once, one does it. The session is live whatever becomes of the
// note, and a client that goes away is no reason to miss one. The note lasts as
// long as the session: an idle_timeout that a reload makes longer finds it.
func (a *App) touch(ctx context.Context, open *opened, known *nearcache.Entry, now time.Time) {
	last := known.LastUsed.Load()
	if now.UnixMilli()-last < (time.Duration(a.IdleTimeout)/10).Milliseconds() || !known.LastUsed.CompareAndSwap(last, now.UnixMilli()) {
		return
	}
	open.uses.note(ctx, open, known.Session.Key, now, known.Session.ExpiresAt)
}

// authenticate finds the live session of a request. A wrong credential does not
// hide a good one: all are looked at, best first. The error wraps
// [ErrUnavailable] if no credential is known to be live and one could not be
// asked about. A request without a credential asks the store nothing.
func (a *App) authenticate(r *http.Request) (*authResult, error) {
	if res, ok := caddyhttp.GetVar(r.Context(), authVar).(*authResult); ok {
		return a.again(r, res)
	}
	var buf [session.MaxCredentials]session.Credential
	credentials := a.format.Locate(r, buf[:0])
	if len(credentials) == 0 {
		a.measured.Load().Counts().Add(telemetry.CheckNoCredential)
		return new(authResult), nil
	}
	var (
		res       *authResult
		outage    error
		strangers []string
	)
	for _, c := range credentials {
		found, err := a.lookup(r.Context(), c)
		if err != nil {
			outage = err
			continue
		}
		if found.session != nil {
			res = found.authResult(c)
			break
		}
		if c.From == session.FromBearer && !found.ofSession() {
			strangers = append(strangers, c.Secret())
		}
	}
	switch {
	case res == nil && outage != nil:
		return nil, outage
	case res == nil:
		missed := a.missedCookies(r, credentials)
		res = &authResult{missed: missed, deadCookie: hasCookie(credentials) && !missed}
	}
	res.strangers = strangers
	remember(r, res)
	return res, nil
}

// remember keeps what authenticate found for the rest of the request.
func remember(r *http.Request, res *authResult) {
	if _, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		caddyhttp.SetVar(r.Context(), authVar, res)
	}
}

// LogoutToken returns the logout token of the credential of a live session. It is
// computed once for as long as the session is in memory.
func (res *authResult) logoutToken() string {
	if token := res.known.LogoutToken.Load(); token != nil {
		return *token
	}
	token := session.LogoutToken(res.credential)
	res.known.LogoutToken.Store(&token)
	return token
}
