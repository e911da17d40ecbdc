package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/journal"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/login"
	"github.com/caddy-logout/caddy-logout/session"
)

// Journals holds the open journals by file, so that a reload goes on with them.
var Journals = caddy.NewUsagePool()

// startJournal opens the journal, or takes on the one that is open, and replays
// it into this configuration's store from now on.
func (m *Manager) startJournal() error {
	if m.JournalFile == "" {
		return nil
	}
	value, _, err := Journals.LoadOrNew(m.JournalFile, func() (caddy.Destructor, error) { return journal.Open(m.JournalFile) })
	if err != nil {
		return err
	}
	j := value.(*journal.Journal)
	m.Replayer = m.NewReplayer()
	j.Use(m.Replayer)
	m.Journal.Store(j)
	return nil
}

// stopJournal gives the journal back, late as the store.
func (m *Manager) stopJournal() {
	j := m.Journal.Load()
	if j == nil {
		return
	}
	j.Drop(m.Replayer)
	file, logger := m.JournalFile, m.Logger
	deferred.Closes.Later(func() {
		if _, err := Journals.Delete(file); err != nil {
			logger.Error("closing the journal of pending logouts failed", zap.Error(err))
		}
	})
}

// pendingCollector exports the number of pending logouts. Caddy's registry is a
// new one after each reload.
func (m *Manager) pendingCollector() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy",
		Subsystem: "sessions",
		Name:      "pending_logouts",
		Help:      "Number of logouts that wait in the journal for the session store.",
	}, func() float64 {
		if j := m.Journal.Load(); j != nil {
			return float64(j.Pending())
		}
		return 0
	})
}

// IsPending reports whether the logout of a key waits for the store.
func (m *Manager) IsPending(key session.Key) bool {
	j := m.Journal.Load()
	return j != nil && j.Has(key)
}

// ErrPending says that a logout was noted and is not done yet.
var ErrPending = errors.New("logout is pending")

// Postpone records the logout of a credential in the journal, if there is one and the
// store was unavailable. It returns ErrPending when the note is on disk, and the error
// that it was given in all other cases.
func (m *Manager) Postpone(ctx context.Context, c session.Credential, by Trigger, outage error) error {
	j := m.Journal.Load()
	if j == nil || !errors.Is(outage, session.ErrUnavailable) {
		return outage
	}
	key := m.Format.Key(c)
	if err := j.Add(key, m.Now(), login.Network(by.Address)); err != nil {
		m.logNotNoted(j, key, err)
		return outage
	}
	m.Audit.Record(ctx, by.Address, telemetry.Entry{Event: telemetry.EventLogoutPending, Trigger: by.Name, Outcome: telemetry.OutcomePending, Session: key.Short()})
	if open, err := m.OpenStore(); err == nil {
		open.Streams.Spare(ctx, key)
		open.Streams.Cut(key, m.Now())
	}
	return ErrPending
}

// logNotNoted says that a logout was not noted: once, and once a minute.
func (m *Manager) logNotNoted(j *journal.Journal, key session.Key, err error) {
	if leftOut, ok := j.Refused.Allow(m.Now()); ok {
		m.Logger.Error("recording a pending logout failed", zap.String("session", key.Short()), zap.Int("left_out", leftOut), zap.Error(err))
	}
}

// NewReplayer does the logouts of a journal in the store of this app.
func (m *Manager) NewReplayer() *journal.Replayer {
	return &journal.Replayer{Revoke: m.replayLogout, Live: m.cameBack, Lifespan: m.Lifespan}
}

// replayLogout revokes a key whose logout is pending. During the outage anybody
// could name any credential, and one that names nothing leaves nothing in the store:
// then found is false.
func (m *Manager) replayLogout(key session.Key) (found bool, err error) {
	ctx, cancel := Detach(context.Background())
	defer cancel()
	store, err := m.OpenStore()
	if err != nil {
		return false, err
	}
	record, err := store.Get(ctx, key)
	if err != nil {
		return false, err
	}
	if !record.RevokedAt.IsZero() {
		m.record(telemetry.Entry{Event: telemetry.EventLogoutRepeated, Trigger: telemetry.ByJournal, Outcome: telemetry.OutcomeRepeated, Session: key.Short()})
		return true, nil
	}
	if record.Value == nil {
		return false, nil
	}
	s, err := m.Format.Decode(key, record.Value)
	if err != nil {
		m.Logger.Error("stored session cannot be read", zap.String("session", key.Short()), zap.Error(err))
		s = &session.Session{Key: key, ExpiresAt: m.Now().Add(MaxLifespan)}
	}
	if err := m.End(ctx, s, Trigger{Name: telemetry.ByJournal}); err != nil {
		return false, err
	}
	return true, nil
}

// cameBack says which of the keys have a session in the store that nobody revoked.
func (m *Manager) cameBack(keys []session.Key) ([]bool, error) {
	ctx, cancel := Detach(context.Background())
	defer cancel()
	store, err := m.OpenStore()
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
func (m *Manager) isKept(key session.Key) bool {
	j := m.Journal.Load()
	return j != nil && j.Keeps(key)
}

// askKept asks the store about such a key. If a backup has brought its session
// back, the logout is pending again.
func (m *Manager) askKept(ctx context.Context, open *Opened, key session.Key) (Found, error) {
	record, err := open.Get(ctx, key)
	switch {
	case err != nil:
		return Found{}, err
	case !record.RevokedAt.IsZero():
		return Found{RevokedAt: record.RevokedAt}, nil
	case record.Value == nil:
		return Found{}, nil
	}
	j := m.Journal.Load()
	if err := j.CameBack(key); err != nil {
		m.logNotNoted(j, key, err)
		return Found{}, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return Found{Pending: true}, nil
}
