package signout

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/pages"
)

// serveDone answers a browser that goes there with the signed-out page, and all
// else with the image.
func (l *Handler) serveDone(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	if !goesToPage(r) {
		return l.serveDoneImage(w, r)
	}
	// The page never says that a person is signed out who is not, or may not be.
	res, err := site.Authenticate(r)
	if err != nil {
		return site.Unavailable(w, r, err)
	}
	if res.Session != nil {
		return web.Redirect(w, r, site.HomeURL(r))
	}
	if res.Missed {
		return site.FailPage(w, r, web.ErrTooManyCookies())
	}
	for _, c := range site.Format.Locate(r, nil) {
		switch found, err := site.Lookup(r.Context(), c); {
		case err != nil:
			return site.Unavailable(w, r, err)
		case found.Pending:
			return site.AnswerPending(w, r, false)
		}
	}
	site.ClearIfDead(w, r, res)
	web.Prepare(w.Header())
	return site.Pages.SignedOut(w, r, pages.SignedOutData{Home: site.HomeURL(r), Done: site.Prefix + web.DonePath})
}

// goesToPage reports whether a browser asks for a page: it names HTML, which it
// does not for images, and says so where it has fetch metadata.
func goesToPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || httpx.Speculative(r) {
		return false
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest == "document"
	}
	return slices.ContainsFunc(r.Header["Accept"], func(accept string) bool { return strings.Contains(accept, "text/html") })
}

// DoneCookie is added to the name of the session cookie.
const DoneCookie = "_done"

// serveDoneImage answers the image of a signed-out page with no image, and with a cookie
// that is gone after a second. Chromium keeps pages whole in its back/forward
// cache in spite of no-store, and drops them when an HttpOnly cookie changes. The
// deletion of the session cookie comes too early for that: the page is put there
// when the page after it, the signed-out page, begins. This comes after.
func (l *Handler) serveDoneImage(w http.ResponseWriter, r *http.Request) error {
	cookie := l.Site.SessionCookie(r)
	cookie.Name += DoneCookie
	cookie.Value, cookie.MaxAge = "1", 1
	web.ReplaceCookie(w.Header(), r, cookie)
	return web.WriteNoContent(w)
}
