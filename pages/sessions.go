// This file holds the page that shows people where they are signed in.

package pages

import "net/http"

// SessionsData is what the page of a person's sessions shows.
type SessionsData struct {
	// Action is the URL that the form is sent to.
	Action string
	// CSRFToken goes along with the form.
	CSRFToken string
	// Identity is who is signed in.
	Identity string
	// Sessions are the live sessions, the one that looks first.
	Sessions []SessionRow
	// More is how many there are beyond those.
	More int
	// Others says that there are more than the one that looks.
	Others bool
}

// SessionRow is one session, in words.
type SessionRow struct {
	// ID is what the form sends to end this session.
	ID string
	// Browser is what the person signed in with.
	Browser string
	// Address is the network address they signed in from; may be empty.
	Address string
	// SignedIn says how long ago that was, Timestamp when (RFC 3339).
	SignedIn, Timestamp string
	// LastUsed says how long ago it was used; may be empty.
	LastUsed string
	// Current marks the session that looks.
	Current bool
}

// Sessions answers with the list of a person's sessions.
func Sessions(w http.ResponseWriter, r *http.Request, data SessionsData) error {
	// As for the sign-in page: the form has to say where it was sent from, and
	// may be answered by a redirect to another host.
	return render(w, r, http.StatusOK, sessionsPage, data, policy, "same-origin")
}
