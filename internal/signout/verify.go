package signout

import (
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// verifiedLogout is what a logout token came to.
type verifiedLogout struct {
	// session is to be revoked; nil if that was done within the replay window.
	session *session.Session
	// credential is the one that the token belongs to, zero if it did not come
	// along: then the token alone names a session that has ended.
	credential session.Credential
	// handle is how logs name the session of the token, if it is known.
	handle string
	// clear says that after this no session cookie of the request is live.
	clear bool
	// failure is the refusal, if the token does not fit.
	failure *web.Error
}

// proven says that the client has shown the credential of the token. A browser
// whose cookie another tab has had cleared has not, nor has one that followed a
// link with a key that another person knows to be revoked: its cookies of the app
// were deleted by the first answer, or are not ours to delete.
func (v *verifiedLogout) proven() bool { return v.credential.Secret() != "" }

// verify finds the session that the token belongs to among the credentials of
// the request. That session, and no other that came along, is the one to end.
func (l *Handler) verify(r *http.Request, token, trigger string) (verifiedLogout, error) {
	var buf [session.MaxCredentials]session.Credential
	credentials := l.Site.Format.Locate(r, buf[:0])
	matched, mixed := -1, false
	for i, c := range credentials {
		switch fit := session.FitLogoutToken(c, token); {
		case fit == session.Fits && matched < 0:
			matched = i
		case fit == session.FitsMixed:
			mixed = true
		}
	}
	var out verifiedLogout
	if matched >= 0 {
		out.credential = credentials[matched]
		out.handle = l.Site.Format.Key(out.credential).Short()
	}
	anyLive, liveCookie, replay := false, false, false
	for _, c := range credentials {
		found, err := l.Site.Lookup(r.Context(), c)
		switch {
		case err != nil && matched >= 0:
			return out, l.Site.Postpone(r.Context(), out.credential, manager.TriggerOf(r, trigger), err)
		case err != nil:
			return out, err
		case found.Pending && matched >= 0 && c.Secret() == out.credential.Secret():
			return out, manager.ErrPending
		}
		same := matched >= 0 && c.Secret() == credentials[matched].Secret()
		if same {
			out.session = found.Session
			replay = l.Site.JustRevoked(found)
		}
		if found.Session != nil {
			anyLive = true
			liveCookie = liveCookie || (c.From == session.FromCookie && !same)
		}
	}
	missed := l.Site.MissedCookies(r, credentials)
	out.clear = web.HasCookie(credentials) && !liveCookie && !missed
	switch {
	case out.session != nil || replay:
	case anyLive:
		out.clear = false
		out.failure = web.NewError(http.StatusForbidden, "logout_token_mismatch",
			"Unable to log out because the logout token in the URL query does not match the session cookie.", web.MsgForbidden)
	case missed:
		out.failure = web.ErrTooManyCookies()
	case matched >= 0 || mixed:
		out.failure = web.ErrSessionInactive()
	default:
		return out, l.verifyWithoutCredential(r, token, &out)
	}
	return out, nil
}

// verifyWithoutCredential finds out whether the session that a token names was
// revoked a moment ago, when no credential of the request is live and none is the
// token's: the same link in a second tab, whose cookie the first tab's answer has
// cleared. One look-up says so, which keeps no idle session alive, and a session
// that lives is never called ended.
func (l *Handler) verifyWithoutCredential(r *http.Request, token string, out *verifiedLogout) error {
	out.failure = web.ErrSessionInactive()
	key, ok := session.KeyOfLogoutToken(token)
	if !ok {
		return nil
	}
	found, err := l.Site.Peek(r.Context(), key)
	switch {
	case err != nil:
		return err
	case found.Pending:
		out.handle = key.Short()
		return manager.ErrPending
	case l.Site.JustRevoked(found):
		out.handle, out.failure = key.Short(), nil
	}
	return nil
}
