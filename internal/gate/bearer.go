package gate

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// cutBearer deletes each Authorization line that may hold the credential of a
// session: anyone who holds a credential can act as the person. That includes
// credentials of other sessions than the request's, and those without our prefix,
// which a login service may have made. The app gets all other lines. If the store
// cannot look a token up, the request fails with that error: without the line, the
// app would refuse, and perhaps sign out, a person who is signed in.
func (g *Handler) cutBearer(r *http.Request, res *web.Auth) error {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return nil
	}
	kept := make([]string, 0, len(lines)) // others may hold the old one
	check := bearerCheck{site: g.site, res: res}
	for _, line := range lines {
		ours, err := check.line(r.Context(), line)
		if err != nil {
			return err
		}
		if !ours {
			kept = append(kept, line)
		}
	}
	httpx.SetLines(r.Header, "Authorization", kept)
	return nil
}

// bearerCheck checks the bearer tokens of one request.
type bearerCheck struct {
	site  *web.Site
	res   *web.Auth
	asked int
}

// line reports whether a line of Authorization must not go to the app. A proxy may
// have joined several lines with commas (RFC 9110, section 5.3), so it checks each
// part. A part of the Bearer scheme that is not one token is deleted (RFC 6750,
// section 2.1): apps differ in how they read it.
func (c *bearerCheck) line(ctx context.Context, line string) (ours bool, err error) {
	for part := range strings.SplitSeq(line, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || !strings.EqualFold(words[0], "bearer") {
			continue
		}
		if len(words) != 2 {
			return true, nil
		}
		if ours, err := c.token(ctx, words[1]); ours || err != nil {
			return ours, err
		}
	}
	return false, nil
}

// token reports whether a bearer token is, or may be, the credential of a session: a
// live one, or one that was revoked, or whose logout is pending and which other
// servers still take. It looks few up: a request has one such line, and if it has
// many, the last are deleted without a look-up.
func (c *bearerCheck) token(ctx context.Context, token string) (bool, error) {
	switch {
	case strings.HasPrefix(token, session.TokenPrefix), c.res.Session != nil && token == c.res.Credential.Secret():
		return true, nil
	case len(token) > session.MaxCredentialLength, slices.Contains(c.res.Strangers, token):
		return false, nil // no credential, or looked up already
	case c.asked == session.MaxCredentials:
		return true, nil
	}
	c.asked++
	found, err := c.site.Peek(ctx, c.site.Format.Key(session.NewCredential(token, session.FromBearer)))
	return found.OfSession(), err
}
