// This file makes a logout during an outage of the store durable: noted on this
// machine first, refused here at once, done in the store when it is back, and
// never called done before that.

package caddylogout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/login"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// DurableLogout takes a logout while the store is away. Without it such a
// logout is answered 503 and changes nothing.
type DurableLogout struct {
	// Journal is the file of pending logouts. Each Caddy process needs its own.
	// Default: caddy-logout/pending-logouts.db in Caddy's data directory.
	// Placeholders are expanded at start.
	Journal string `json:"journal,omitempty"`
}

// errDurableEmbedded says that a journal would never hold anything.
var errDurableEmbedded = errors.New("durable_logout: is for a store that can be away, such as redis; the embedded store cannot")

// journals holds the open journals by file, so that a reload goes on with them.
var journals = caddy.NewUsagePool()

// durable is the part of the app that has a journal.
type durable struct {
	file     string
	journal  atomic.Pointer[journal] // set with the store; a scrape may come before
	replayer *replayer
}

// provisionDurable prepares the journal, if there is to be one.
func (a *App) provisionDurable(ctx caddy.Context) error {
	if a.DurableLogout == nil {
		return nil
	}
	if !a.storeIsRemote() {
		return errDurableEmbedded
	}
	var err error
	if a.durable.file, err = a.DurableLogout.provision(); err != nil {
		return err
	}
	if registry := ctx.GetMetricsRegistry(); registry != nil {
		return a.registerPending(registry)
	}
	return nil
}

// provision works out the file. It opens nothing.
func (d *DurableLogout) provision() (file string, err error) {
	file = d.Journal
	if file == "" {
		file = filepath.Join(caddy.AppDataDir(), "caddy-logout", "pending-logouts.db")
	}
	if file, err = caddy.NewReplacer().ReplaceOrErr(file, true, true); err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return "", fmt.Errorf("sessions: durable_logout: journal: %w", err)
	}
	return file, nil
}

// startJournal opens the journal, or takes on the one that is open, and replays
// it into this configuration's store from now on.
func (a *App) startJournal() error {
	if a.durable.file == "" {
		return nil
	}
	value, _, err := journals.LoadOrNew(a.durable.file, func() (caddy.Destructor, error) { return openJournal(a.durable.file) })
	if err != nil {
		return err
	}
	j := value.(*journal)
	a.durable.replayer = a.newReplayer()
	j.use(a.durable.replayer)
	a.durable.journal.Store(j)
	return nil
}

// stopJournal gives the journal back, late as the store.
func (a *App) stopJournal() {
	j := a.durable.journal.Load()
	if j == nil {
		return
	}
	j.drop(a.durable.replayer)
	file, logger := a.durable.file, a.logger
	deferred.Closes.Later(func() {
		if _, err := journals.Delete(file); err != nil {
			logger.Error("closing the journal of pending logouts failed", zap.Error(err))
		}
	})
}

// registerPending exports the number of pending logouts. Caddy's registry is a
// new one after each reload.
func (a *App) registerPending(registry *prometheus.Registry) error {
	return registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy",
		Subsystem: "sessions",
		Name:      "pending_logouts",
		Help:      "Number of logouts that wait in the journal for the session store to come back.",
	}, func() float64 {
		if j := a.durable.journal.Load(); j != nil {
			return float64(j.count.Load())
		}
		return 0
	}))
}

// isPending reports whether the logout of a key waits for the store.
func (a *App) isPending(key session.Key) bool {
	j := a.durable.journal.Load()
	return j != nil && j.has(key)
}

// errLogoutPending says that a logout was noted and is not done yet.
var errLogoutPending = errors.New("logout is pending")

// postpone notes the logout of a credential, if the store was away and there is
// a journal. It returns errLogoutPending when the note is on disk, and the error
// that it was given in all other cases.
func (a *App) postpone(r *http.Request, c session.Credential, trigger string, outage error) error {
	j := a.durable.journal.Load()
	if j == nil || !errors.Is(outage, session.ErrUnavailable) {
		return outage
	}
	key := a.format.Key(c)
	if err := j.add(key, a.now(), login.Network(httpx.ClientIP(r))); err != nil {
		a.logNotNoted(j, key, err)
		return outage
	}
	a.audit(r, telemetry.Entry{Event: telemetry.EventLogoutPending, Trigger: trigger, Outcome: telemetry.OutcomePending, Session: key.Short()})
	if open, err := a.openStore(); err == nil {
		open.streams.spare(r.Context(), key)
		open.streams.cut(key, a.now())
	}
	return errLogoutPending
}

// logNotNoted says that a logout was not noted: once, and once a minute.
func (a *App) logNotNoted(j *journal, key session.Key, err error) {
	if leftOut, ok := j.refused.Allow(a.now()); ok {
		a.logger.Error("noting a logout failed", zap.String("session", key.Short()), zap.Int("left_out", leftOut), zap.Error(err))
	}
}

// newReplayer does the logouts of a journal in the store of this app.
func (a *App) newReplayer() *replayer {
	return &replayer{revoke: a.replayLogout, live: a.cameBack, lifespan: time.Duration(a.Lifespan)}
}

// replayLogout revokes a key whose logout is pending. During the outage anybody
// could name any credential, and one that names nothing leaves nothing in the store:
// then found is false.
func (a *App) replayLogout(key session.Key) (found bool, err error) {
	ctx, cancel := detach(context.Background())
	defer cancel()
	store, err := a.openStore()
	if err != nil {
		return false, err
	}
	record, err := store.Get(ctx, key)
	if err != nil {
		return false, err
	}
	if !record.RevokedAt.IsZero() {
		a.audit(nil, telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: telemetry.ByJournal, Outcome: telemetry.OutcomeRepeated, Session: key.Short()})
		return true, nil
	}
	if record.Value == nil {
		return false, nil
	}
	s, err := a.format.Decode(key, record.Value)
	if err != nil {
		a.logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		s = &session.Session{Key: key, ExpiresAt: a.now().Add(maxLifespan)}
	}
	if _, err := a.revoke(ctx, s); err != nil {
		return false, err
	}
	a.audit(nil, telemetry.Entry{Event: telemetry.EventRevoked, Trigger: telemetry.ByJournal, Outcome: telemetry.OutcomeRevoked}.OfSession(s))
	return true, nil
}

// cameBack says which of the keys have a session in the store that nobody revoked.
func (a *App) cameBack(keys []session.Key) ([]bool, error) {
	ctx, cancel := detach(context.Background())
	defer cancel()
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	records, err := store.GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	live := make([]bool, len(keys))
	for i, record := range records {
		live[i] = record.Value != nil && record.RevokedAt.IsZero()
	}
	return live, nil
}

// isKept reports whether the logout of a key was asked for during an outage, and the
// store did not know its session afterwards.
func (a *App) isKept(key session.Key) bool {
	j := a.durable.journal.Load()
	return j != nil && j.keeps(key)
}

// askKept asks the store about such a key. If a backup has brought its session
// back, the logout is pending again.
func (a *App) askKept(ctx context.Context, open *opened, key session.Key) (lookupResult, error) {
	record, err := open.Get(ctx, key)
	switch {
	case err != nil:
		return lookupResult{}, err
	case !record.RevokedAt.IsZero():
		return lookupResult{revokedAt: record.RevokedAt}, nil
	case record.Value == nil:
		return lookupResult{}, nil
	}
	j := a.durable.journal.Load()
	if err := j.cameBack(key); err != nil {
		a.logNotNoted(j, key, err)
		return lookupResult{}, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return lookupResult{pending: true}, nil
}

// answerPending answers 202: the logout was accepted and is not done. The
// cookie is cleared, for this browser has no more use of it, unless another
// session cookie came along that may be live.
func (a *App) answerPending(w http.ResponseWriter, r *http.Request, asJSON bool) error {
	a.clearIfOut(w, r)
	if asJSON {
		return writeJSON(w, http.StatusAccepted, map[string]string{
			"status": "pending",
			"reason": "The session store cannot be reached. The logout was noted and will be done as soon as it is back; until then other servers may still accept the session.",
		})
	}
	prepare(w.Header())
	return a.pages.Pending(w, r, pages.PendingData{Home: a.homeURL(r)})
}
