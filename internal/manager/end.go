package manager

import (
	"context"
	"errors"

	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/session"
)

// Ended says what became of a session that was to end.
type Ended struct {
	// Session is the one that has ended; nil if none was live.
	Session *session.Session
	// Repeated says that it was revoked a moment before.
	Repeated bool
	// Pending says that its end is in the journal, and not done yet.
	Pending bool
}

// End ends a session that was found live, and records it.
func (m *Manager) End(ctx context.Context, s *session.Session, by Trigger) error {
	if _, err := m.Revoke(ctx, s); err != nil {
		return err
	}
	m.Audit.Record(ctx, by.Address, telemetry.Entry{
		Event: telemetry.EventRevoked, Trigger: by.Name, Outcome: telemetry.OutcomeRevoked,
	}.OfSession(s))
	return nil
}

// EndFound is End for a client that has shown the credential of the session. While the
// store is unavailable, the end goes to the journal, if there is one.
func (m *Manager) EndFound(ctx context.Context, s *session.Session, c session.Credential, by Trigger) (Ended, error) {
	if err := m.End(ctx, s, by); err != nil {
		return m.endLater(ctx, c, by, err)
	}
	return Ended{Session: s}, nil
}

// EndCredential looks the session of a credential up, and ends it as EndFound does.
func (m *Manager) EndCredential(ctx context.Context, c session.Credential, by Trigger) (Ended, error) {
	found, err := m.Lookup(ctx, c)
	switch {
	case err != nil:
		return m.endLater(ctx, c, by, err)
	case found.Session == nil:
		return Ended{Pending: found.Pending, Repeated: m.JustRevoked(found)}, nil
	}
	return m.EndFound(ctx, found.Session, c, by)
}

// endLater leaves the end of a session to the journal.
func (m *Manager) endLater(ctx context.Context, c session.Credential, by Trigger, outage error) (Ended, error) {
	if err := m.Postpone(ctx, c, by, outage); !errors.Is(err, ErrPending) {
		return Ended{}, err
	}
	return Ended{Pending: true}, nil
}
