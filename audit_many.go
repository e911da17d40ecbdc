// This file keeps the audit log whole and bounded: the end of many sessions is
// told in several lines, and refusals that anybody can cause only so often.

package caddylogout

import (
	"net/http"
)

// maxAuditHandles bounds the handles in one line.
const maxAuditHandles = 100

// Anybody can cause a refused logout that names nobody: another site's page with a
// thousand images, a script without a token. So they are told at this rate. Those
// of somebody who is known, and all that was done or could not be, are always told.
const (
	refusalsPerSecond = 10
	refusalsAtOnce    = 100
)

// parts splits what is told of many sessions into lines. The count is that of all
// of them, in each.
func (e auditEntry) parts() []auditEntry {
	if len(e.sessions) <= maxAuditHandles {
		return []auditEntry{e}
	}
	all := make([]auditEntry, 0, len(e.sessions)/maxAuditHandles+1)
	for from := 0; from < len(e.sessions); from += maxAuditHandles {
		to := min(from+maxAuditHandles, len(e.sessions))
		part := e
		part.sessions = e.sessions[from:to]
		if len(e.identities) > 0 {
			part.identities = e.identities[from:to]
		}
		all = append(all, part)
	}
	for i := range all {
		all[i].part, all[i].of = i+1, len(all)
	}
	return all
}

// byStranger reports whether it is a refusal of somebody nobody knows.
func (e auditEntry) byStranger() bool {
	return e.event == eventLogoutRefused && e.outcome == outcomeRefused && e.identity == "" && e.session == ""
}

// everybodyTrail tells of the end of the sessions of everybody while it goes on: it
// holds those of one line, and never all. The zero value tells nobody.
type everybodyTrail struct {
	app   *App
	r     *http.Request
	entry auditEntry
	told  bool
}

// add takes in how many sessions of a person ended, and which.
func (t *everybodyTrail) add(identity string, ended int, keys ...Key) {
	for _, key := range keys {
		t.entry.sessions = append(t.entry.sessions, key.Short())
		t.entry.identities = append(t.entry.identities, identity)
	}
	t.entry.count += ended
	if len(t.entry.sessions) >= maxAuditHandles {
		t.tell(nil)
	}
}

// tell writes what is not told yet, and in the end at least one line.
func (t *everybodyTrail) tell(err error) {
	if t.app != nil {
		t.entry.event, t.entry.trigger, t.entry.outcome = eventManyRevoked, byAdmin, outcomeRevoked
		auditMany(t.app, t.r, t.entry, t.entry.count, err)
	}
	t.entry, t.told = auditEntry{}, true
}

// end tells the rest.
func (t *everybodyTrail) end(err error) {
	if err != nil || len(t.entry.sessions) > 0 || t.entry.count > 0 || !t.told {
		t.tell(err)
	}
}
