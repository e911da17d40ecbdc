// This file keeps the audit log whole and bounded: the end of many sessions is
// told in several lines, and refusals that anybody can cause only so often.

package telemetry

// MaxAuditHandles bounds the handles in one line.
const MaxAuditHandles = 100

// Anybody can cause a refused logout that names nobody: another site's page with a
// thousand images, a script without a token. So they are told at this rate. Those
// of somebody who is known, and all that was done or could not be, are always told.
const (
	refusalsPerSecond = 10
	RefusalsAtOnce    = 100
)

// parts splits what is told of many sessions into lines. The count is that of all
// of them, in each.
func (e Entry) parts() []Entry {
	if len(e.Sessions) <= MaxAuditHandles {
		return []Entry{e}
	}
	all := make([]Entry, 0, len(e.Sessions)/MaxAuditHandles+1)
	for from := 0; from < len(e.Sessions); from += MaxAuditHandles {
		to := min(from+MaxAuditHandles, len(e.Sessions))
		part := e
		part.Sessions = e.Sessions[from:to]
		if len(e.Identities) > 0 {
			part.Identities = e.Identities[from:to]
		}
		all = append(all, part)
	}
	for i := range all {
		all[i].part, all[i].of = i+1, len(all)
	}
	return all
}

// byStranger reports whether it is a refusal of somebody nobody knows.
func (e Entry) byStranger() bool {
	return e.Event == EventLogoutRefused && e.Outcome == OutcomeRefused && e.Identity == "" && e.Session == ""
}
