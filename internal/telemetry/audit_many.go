package telemetry

// MaxAuditHandles bounds the handles in one line.
const MaxAuditHandles = 100

// Anyone can cause a refused logout without an identity: another site's page
// with a thousand images, a script without a token. These are logged at this
// rate. Refusals that name a session or a person, and all other entries, are
// always logged.
const (
	refusalsPerSecond = 10
	RefusalsAtOnce    = 100
)

// parts splits an entry about many sessions into lines. Each line has the count
// of all of them.
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

// byStranger reports whether it is a refusal that names neither a session nor a
// person.
func (e Entry) byStranger() bool {
	return e.Event == EventLogoutRefused && e.Outcome == OutcomeRefused && e.Identity == "" && e.Session == ""
}
