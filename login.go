// This file holds the login handler: which paths are its own, and the pages and
// flows that lead to a sign-in.

package caddylogout

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/login"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// The paths of sign-in, below the prefix of the sessions app.
const (
	loginPath        = "/self-service/login"
	loginBrowserPath = loginPath + "/browser"
	loginAPIPath     = loginPath + "/api"
	loginFlowsPath   = loginPath + "/flows"
)

// Login signs people in with a name and a password from an accounts file:
//
//	GET  /self-service/login/browser    begins, for browsers: leads to the form
//	GET  /self-service/login/api        begins, for clients without cookies
//	GET  /self-service/login?flow=…     the form, or the flow as JSON
//	GET  /self-service/login/flows?id=… the flow as JSON
//	POST /self-service/login?flow=…     signs in
//
// All other requests go on to the next handler.
type Login struct {
	// Accounts is the file of those who may sign in, one a line: name:hash, or
	// name:hash:{traits}. The hash is what `caddy hash-password` prints, the
	// traits are a JSON object such as {"email":"alice@example.com"}. Lines that
	// begin with # are comments. It is read at start and at each reload.
	// Placeholders are expanded at start; a relative name is relative to the
	// working directory.
	Accounts string `json:"accounts,omitempty"`

	// DefaultReturnURL is where a browser goes after signing in when it asked
	// for nothing else: a path, or an absolute URL. Default: the sessions app's.
	// Placeholders are expanded at start.
	DefaultReturnURL string `json:"default_return_url,omitempty"`

	site        *web.Site
	fallback    *returnurl.Policy // of DefaultReturnURL, nil for the app's
	logger      *zap.Logger
	accounts    *login.Accounts
	attempts    *login.Attempts
	attemptsKey string
}

// attemptsPool holds the counts of failed tries by accounts file, so that a
// reload does not give whoever guesses a fresh start.
var attemptsPool = caddy.NewUsagePool()

// pooledAttempts makes the counts a value of the pool.
type pooledAttempts struct{ *login.Attempts }

// Destruct implements caddy.Destructor. There is nothing to close: requests of
// the old configuration may go on counting.
func (pooledAttempts) Destruct() error { return nil }

// CaddyModule implements caddy.Module.
func (*Login) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.login", New: func() caddy.Module { return new(Login) }}
}

// Provision implements caddy.Provisioner. It reads the accounts file.
func (l *Login) Provision(ctx caddy.Context) error {
	l.logger = ctx.Logger()
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	l.site = app.Site
	if l.DefaultReturnURL, err = caddy.NewReplacer().ReplaceOrErr(l.DefaultReturnURL, true, true); err != nil {
		return fmt.Errorf("login: default_return_url: %w", err)
	}
	if l.DefaultReturnURL != "" {
		if l.fallback, err = returnurl.New(l.DefaultReturnURL, nil); err != nil {
			return fmt.Errorf("login: %w", err)
		}
	}
	if l.Accounts, err = caddy.NewReplacer().ReplaceOrErr(l.Accounts, true, true); err != nil {
		return fmt.Errorf("login: accounts: %w", err)
	}
	if l.Accounts == "" {
		return errors.New("login: accounts: want the name of a file")
	}
	if l.accounts, err = readAccounts(l.Accounts); err != nil {
		return fmt.Errorf("login: accounts: %w", err)
	}
	app.accounts = append(app.accounts, l.accounts.Names()...)
	if l.accounts.Len() == 0 {
		l.logger.Warn("accounts file holds no account: nobody can sign in", zap.String("file", l.Accounts))
	}
	return l.takeAttempts()
}

// returnURL returns where to send the browser after signing in.
func (l *Login) returnURL(r *http.Request, raw string) (string, error) {
	if raw == "" && l.fallback != nil {
		return l.fallback.Check("", l.site.Base(r))
	}
	return l.site.CheckReturnURL(r, raw)
}

func readAccounts(name string) (*login.Accounts, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return login.ParseAccounts(name, file)
}

// takeAttempts takes on the counts of failed tries of the last configuration
// that had this accounts file, or begins new ones.
func (l *Login) takeAttempts() error {
	key, err := filepath.Abs(l.Accounts)
	if err != nil {
		return fmt.Errorf("login: accounts: %w", err)
	}
	value, _, err := attemptsPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return pooledAttempts{login.NewAttempts(login.DefaultLimits, nil)}, nil
	})
	if err != nil {
		return err
	}
	l.attempts, l.attemptsKey = value.(pooledAttempts).Attempts, key
	return nil
}

// Cleanup implements caddy.CleanerUpper. It gives back only what this instance
// took, for Caddy calls it also after a failed Provision.
func (l *Login) Cleanup() error {
	if l.attemptsKey == "" {
		return nil
	}
	key := l.attemptsKey
	l.attemptsKey = ""
	_, err := attemptsPool.Delete(key)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Login) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refusal := web.Admit(r); refusal != nil {
		return l.site.FailAndClose(w, r, refusal)
	}
	path := web.OwnPath(r, l.site.Prefix)
	switch path {
	case loginBrowserPath:
		return l.readOnly(w, r, l.beginBrowser)
	case loginAPIPath:
		return l.readOnly(w, r, l.beginAPI)
	case loginFlowsPath:
		return l.readOnly(w, r, l.showFlowJSON)
	case web.ErrorsPath:
		return l.site.ServeError(w, r) // also on a site without the logout handler
	case loginPath:
		if r.Method == http.MethodPost {
			return l.submit(w, r)
		}
		return l.readOnly(w, r, l.showFlow)
	}
	if strings.HasPrefix(path, loginPath+"/") {
		return l.site.FailJSON(w, r, web.ErrNotFound())
	}
	l.site.CleanUngated(r)
	return next.ServeHTTP(w, r)
}

// readOnly serves GET, and answers HEAD without making anything for it.
func (l *Login) readOnly(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request) error) error {
	switch {
	case r.Method == http.MethodHead:
		web.Prepare(w.Header())
		w.WriteHeader(http.StatusOK)
		return nil
	case r.Method != http.MethodGet:
		allow := "GET, HEAD"
		if web.OwnPath(r, l.site.Prefix) == loginPath {
			allow += ", POST"
		}
		return l.site.FailMethod(w, r, allow)
	case httpx.Speculative(r):
		// Its answer would be kept for the real click, with the cookie of a
		// request that perhaps never became one.
		return l.site.FailJSON(w, r, web.ErrSpeculative())
	}
	return serve(w, r)
}

// errAlreadySignedIn is the answer to a client that begins to sign in while it
// is signed in.
func errAlreadySignedIn() *web.Error {
	return web.NewError(http.StatusBadRequest, "session_already_available",
		"A valid session was detected and thus login is not possible. Did you forget to set `?refresh=true`?", web.MsgBadRequest)
}

// begin makes a flow of what the query asks for. Sign-in keeps nothing on the
// server: a flow is a dated id, and the rest is in the URL.
func (l *Login) begin(r *http.Request, api bool) (loginFlow, error) {
	f := newLoginFlow(api, l.site.Now())
	return f, l.readQuery(r, &f)
}

// readQuery reads what a flow takes from the query, and checks the return URL
// before anything else is done.
func (l *Login) readQuery(r *http.Request, f *loginFlow) error {
	query := r.URL.Query()
	f.refresh = query.Get("refresh") == "true"
	raw := query.Get("return_to")
	if raw == "" {
		return nil
	}
	returnTo, err := l.returnURL(r, raw)
	if err != nil {
		return web.ErrReturnURL(raw, err)
	}
	f.returnTo = returnTo
	return nil
}

// beginBrowser begins a sign-in for a browser: it is sent to the form, and a
// script gets the flow.
func (l *Login) beginBrowser(w http.ResponseWriter, r *http.Request) error {
	site := l.site
	f, err := l.begin(r, false)
	if err != nil {
		return site.Fail(w, r, err)
	}
	if done, err := l.signedInAlready(w, r, f); done {
		return err
	}
	if httpx.WantsJSON(r) {
		return l.writeFlow(w, r, http.StatusOK, f, flowState{})
	}
	site.BrowserCookie(w, r)
	return web.Redirect(w, r, f.url(site.Base(r)+site.Prefix))
}

// signedInAlready answers a browser that has a live session and did not ask to
// sign in again.
func (l *Login) signedInAlready(w http.ResponseWriter, r *http.Request, f loginFlow) (done bool, err error) {
	if f.refresh {
		return false, nil
	}
	site := l.site
	res, err := site.Authenticate(r)
	switch {
	case err != nil:
		return true, site.Fail(w, r, err)
	case res.Session == nil:
		site.ClearIfDead(w, r, res)
		return false, nil
	case httpx.WantsJSON(r):
		return true, site.FailJSON(w, r, errAlreadySignedIn())
	}
	location, err := l.returnURL(r, f.returnTo)
	if err != nil {
		return true, site.Fail(w, r, web.ErrReturnURL(f.returnTo, err))
	}
	return true, web.Redirect(w, r, location)
}

// beginAPI begins a sign-in for a client without cookies. Cookies that come
// along are not looked at: this flow neither reads nor sets any.
func (l *Login) beginAPI(w http.ResponseWriter, r *http.Request) error {
	site := l.site
	f, err := l.begin(r, true)
	if err != nil {
		return site.FailJSON(w, r, err)
	}
	if !f.refresh {
		for _, c := range site.Format.Locate(r, nil) {
			if c.From == session.FromCookie {
				continue
			}
			found, err := site.Lookup(r.Context(), c)
			if err != nil {
				return site.FailJSON(w, r, err)
			}
			if found.Session != nil {
				return site.FailJSON(w, r, errAlreadySignedIn())
			}
		}
	}
	return l.writeFlow(w, r, http.StatusOK, f, flowState{})
}

// showFlow shows the sign-in form. A browser whose flow has ended gets a new
// one; nobody needs to know what a flow is.
func (l *Login) showFlow(w http.ResponseWriter, r *http.Request) error {
	if httpx.WantsJSON(r) {
		return l.showFlowJSON(w, r)
	}
	f, err := parseLoginFlow(r.URL.Query().Get("flow"), l.site.Now())
	if err != nil || f.api {
		return l.beginAgain(w, r)
	}
	if err := l.readQuery(r, &f); err != nil {
		return l.site.Fail(w, r, err)
	}
	if done, err := l.signedInAlready(w, r, f); done {
		return err
	}
	return l.writePage(w, r, http.StatusOK, f, flowState{})
}

// beginAgain sends a browser to the beginning. The return URL goes along as it
// came, and is checked there.
func (l *Login) beginAgain(w http.ResponseWriter, r *http.Request) error {
	location := l.site.Base(r) + l.site.Prefix + loginBrowserPath
	query := r.URL.Query()
	kept := make(url.Values)
	for _, name := range []string{"refresh", "return_to"} {
		if query.Get(name) != "" {
			kept.Set(name, query.Get(name))
		}
	}
	if len(kept) > 0 {
		location += "?" + kept.Encode()
	}
	return web.Redirect(w, r, location)
}

// showFlowJSON answers with a flow that was begun before.
func (l *Login) showFlowJSON(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("flow")
	if id == "" {
		id = r.URL.Query().Get("id")
	}
	f, err := parseLoginFlow(id, l.site.Now())
	if err != nil {
		return l.site.FailJSON(w, r, err)
	}
	if err := l.readQuery(r, &f); err != nil {
		return l.site.FailJSON(w, r, err)
	}
	return l.writeFlow(w, r, http.StatusOK, f, flowState{})
}

// writeFlow answers with a flow as JSON.
func (l *Login) writeFlow(w http.ResponseWriter, r *http.Request, status int, f loginFlow, state flowState) error {
	csrf := ""
	if !f.api {
		csrf = f.csrfToken(l.site.BrowserCookie(w, r))
	}
	return web.WriteJSON(w, status, f.json(l.site.Base(r)+l.site.Prefix, csrf, state))
}

// writePage answers with the sign-in form.
func (l *Login) writePage(w http.ResponseWriter, r *http.Request, status int, f loginFlow, state flowState) error {
	base := l.site.Base(r)
	_, site, _ := strings.Cut(base, "://")
	data := pages.LoginData{
		Action:     f.url(base + l.site.Prefix),
		CSRFToken:  f.csrfToken(l.site.BrowserCookie(w, r)),
		Site:       site,
		Identifier: state.identifier,
	}
	if state.message != nil {
		data.Message = l.site.Pages.Text(state.message.page, state.message.pageArgs...)
	}
	if state.missingIdentifier {
		data.IdentifierHint = l.site.Pages.Text("login.name_missing")
	}
	if state.missingPassword {
		data.PasswordHint = l.site.Pages.Text("login.password_missing")
	}
	web.Prepare(w.Header())
	return l.site.Pages.Login(w, r, status, data)
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Login)(nil)
	_ caddy.CleanerUpper          = (*Login)(nil)
	_ caddyhttp.MiddlewareHandler = (*Login)(nil)
	_ caddy.Destructor            = pooledAttempts{}
)
