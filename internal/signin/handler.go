// Package signin serves the pages and flows by which people sign in with a name and a
// password.
package signin

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
	loginPath   = "/self-service/login"
	browserPath = loginPath + "/browser"
	apiPath     = loginPath + "/api"
	flowsPath   = loginPath + "/flows"
)

// Options are the options of login.
type Options struct {
	// Accounts is the file of the accounts that may sign in, one a line: name:hash,
	// or name:hash:{traits}. The hash is what `caddy hash-password` prints, the
	// traits are a JSON object such as {"email":"alice@example.com"}. Lines that
	// begin with # are comments. It is read at start and at each reload. Placeholders
	// are expanded at start; a relative name is relative to the working directory.
	Accounts string `json:"accounts,omitempty"`

	// DefaultReturnURL is where a browser goes after signing in when it asked
	// for nothing else: a path, or an absolute URL. Default: the sessions app's.
	// Placeholders are expanded at start.
	DefaultReturnURL string `json:"default_return_url,omitempty"`
}

// Handler is login as it runs.
type Handler struct {
	Options
	Site        *web.Site
	fallback    *returnurl.Policy // of DefaultReturnURL, nil for the app's
	logger      *zap.Logger
	accounts    *login.Accounts
	attempts    *login.Attempts
	attemptsKey string
}

// attemptsPool holds the counts of failed attempts by accounts file, so that a reload
// gives an attacker no new attempts.
var attemptsPool = caddy.NewUsagePool()

// pooledAttempts makes the counts a value of the pool.
type pooledAttempts struct{ *login.Attempts }

// Destruct implements caddy.Destructor. There is nothing to close: requests of
// the old configuration may go on counting.
func (pooledAttempts) Destruct() error { return nil }

// New returns the sign-in of a site. It reads the accounts file.
func New(options Options, site *web.Site, logger *zap.Logger) (*Handler, error) {
	l := &Handler{Options: options, Site: site, logger: logger}
	var err error
	if l.DefaultReturnURL, err = caddy.NewReplacer().ReplaceOrErr(l.DefaultReturnURL, true, true); err != nil {
		return nil, fmt.Errorf("login: default_return_url: %w", err)
	}
	if l.DefaultReturnURL != "" {
		if l.fallback, err = returnurl.New(l.DefaultReturnURL, nil); err != nil {
			return nil, fmt.Errorf("login: %w", err)
		}
	}
	if l.Accounts, err = caddy.NewReplacer().ReplaceOrErr(l.Accounts, true, true); err != nil {
		return nil, fmt.Errorf("login: accounts: %w", err)
	}
	if l.Accounts == "" {
		return nil, errors.New("login: accounts: want the name of a file")
	}
	if l.accounts, err = readAccounts(l.Accounts); err != nil {
		return nil, fmt.Errorf("login: accounts: %w", err)
	}
	if l.accounts.Len() == 0 {
		l.logger.Warn("accounts file holds no account: nobody can sign in", zap.String("file", l.Accounts))
	}
	return l, l.takeAttempts()
}

// returnURL returns where to send the browser after signing in.
func (l *Handler) returnURL(r *http.Request, raw string) (string, error) {
	if raw == "" && l.fallback != nil {
		return l.fallback.Check("", l.Site.Base(r))
	}
	return l.Site.CheckReturnURL(r, raw)
}

func readAccounts(name string) (*login.Accounts, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return login.ParseAccounts(name, file)
}

// takeAttempts takes on the counts of failed attempts of the last configuration that
// had this accounts file, or begins new ones.
func (l *Handler) takeAttempts() error {
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

// Names returns the names of all accounts.
func (l *Handler) Names() []string { return l.accounts.Names() }

// Close gives back what the handler took.
func (l *Handler) Close() error {
	if l.attemptsKey == "" {
		return nil
	}
	key := l.attemptsKey
	l.attemptsKey = ""
	_, err := attemptsPool.Delete(key)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if refusal := web.Admit(r); refusal != nil {
		return l.Site.FailAndClose(w, r, refusal)
	}
	if serve := Routes.Find(l, web.OwnPath(r, l.Site.Prefix)); serve != nil {
		return serve(l, w, r)
	}
	l.Site.CleanUngated(r)
	return next.ServeHTTP(w, r)
}

// Routes are our paths.
var Routes = web.Routes[*Handler]{
	{Path: browserPath, Serve: readOnly((*Handler).beginBrowser)},
	{Path: apiPath, Serve: readOnly((*Handler).beginAPI)},
	{Path: flowsPath, Serve: readOnly((*Handler).showFlowJSON)},
	{Path: loginPath, Serve: (*Handler).serveForm},
	{Path: web.ErrorsPath, Serve: (*Handler).serveError}, // also on a site without the logout handler
	{Path: loginPath + "/*", Serve: (*Handler).unknown},
}

// serveForm shows the form, or takes its submission.
func (l *Handler) serveForm(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return l.submit(w, r)
	}
	return readOnly((*Handler).showFlow)(l, w, r)
}

// serveError serves the error of a browser.
func (l *Handler) serveError(w http.ResponseWriter, r *http.Request) error {
	return l.Site.ServeError(w, r)
}

func (l *Handler) unknown(w http.ResponseWriter, r *http.Request) error {
	return l.Site.FailJSON(w, r, web.ErrNotFound())
}

// readOnly serves GET, and answers HEAD without making anything for it.
func readOnly(serve func(*Handler, http.ResponseWriter, *http.Request) error) func(*Handler, http.ResponseWriter, *http.Request) error {
	return func(l *Handler, w http.ResponseWriter, r *http.Request) error {
		switch {
		case r.Method == http.MethodHead:
			web.Prepare(w.Header())
			w.WriteHeader(http.StatusOK)
			return nil
		case r.Method != http.MethodGet:
			allow := "GET, HEAD"
			if web.OwnPath(r, l.Site.Prefix) == loginPath {
				allow += ", POST"
			}
			return l.Site.FailMethod(w, r, allow)
		case httpx.Speculative(r):
			// The browser would keep the response for the real click, with the cookie
			// of a request that may never become one.
			return l.Site.FailJSON(w, r, web.ErrSpeculative())
		}
		return serve(l, w, r)
	}
}

// errAlreadySignedIn is the response to a client that begins to sign in while it is
// signed in.
func errAlreadySignedIn() *web.Error {
	return web.NewError(http.StatusBadRequest, "session_already_available",
		"A valid session was detected and thus login is not possible. Did you forget to set `?refresh=true`?", web.MsgBadRequest)
}

// begin makes a flow of what the query asks for. Sign-in keeps nothing on the
// server: a flow is a dated id, and the rest is in the URL.
func (l *Handler) begin(r *http.Request, api bool) (Flow, error) {
	f := NewFlow(api, l.Site.Now())
	return f, l.readQuery(r, &f)
}

// readQuery reads what a flow takes from the query, and checks the return URL
// before anything else is done.
func (l *Handler) readQuery(r *http.Request, f *Flow) error {
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

// beginBrowser begins a sign-in for a browser: it redirects a page to the form, and
// answers a script with the flow.
func (l *Handler) beginBrowser(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
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
	return web.Redirect(w, r, f.URL(site.Base(r)+site.Prefix))
}

// signedInAlready answers a browser that has a live session and did not ask to
// sign in again.
func (l *Handler) signedInAlready(w http.ResponseWriter, r *http.Request, f Flow) (done bool, err error) {
	if f.refresh {
		return false, nil
	}
	site := l.Site
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

// beginAPI begins a sign-in for a client without cookies. It ignores cookies: this
// flow neither reads nor sets any.
func (l *Handler) beginAPI(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
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

// showFlow shows the sign-in form. A browser whose flow has ended gets a new one
// without a message: a person need not know what a flow is.
func (l *Handler) showFlow(w http.ResponseWriter, r *http.Request) error {
	if httpx.WantsJSON(r) {
		return l.showFlowJSON(w, r)
	}
	f, err := parseFlow(r.URL.Query().Get("flow"), l.Site.Now())
	if err != nil || f.api {
		return l.beginAgain(w, r)
	}
	if err := l.readQuery(r, &f); err != nil {
		return l.Site.Fail(w, r, err)
	}
	if done, err := l.signedInAlready(w, r, f); done {
		return err
	}
	return l.writePage(w, r, http.StatusOK, f, flowState{})
}

// beginAgain sends a browser to the beginning. The return URL goes along as it
// came, and is checked there.
func (l *Handler) beginAgain(w http.ResponseWriter, r *http.Request) error {
	location := l.Site.Base(r) + l.Site.Prefix + browserPath
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
func (l *Handler) showFlowJSON(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("flow")
	if id == "" {
		id = r.URL.Query().Get("id")
	}
	f, err := parseFlow(id, l.Site.Now())
	if err != nil {
		return l.Site.FailJSON(w, r, err)
	}
	if err := l.readQuery(r, &f); err != nil {
		return l.Site.FailJSON(w, r, err)
	}
	return l.writeFlow(w, r, http.StatusOK, f, flowState{})
}

// writeFlow answers with a flow as JSON.
func (l *Handler) writeFlow(w http.ResponseWriter, r *http.Request, status int, f Flow, state flowState) error {
	csrf := ""
	if !f.api {
		csrf = f.CSRFToken(l.Site.BrowserCookie(w, r))
	}
	return web.WriteJSON(w, status, f.json(l.Site.Base(r)+l.Site.Prefix, csrf, state))
}

// writePage answers with the sign-in form.
func (l *Handler) writePage(w http.ResponseWriter, r *http.Request, status int, f Flow, state flowState) error {
	base := l.Site.Base(r)
	_, site, _ := strings.Cut(base, "://")
	data := pages.LoginData{
		Action:     f.URL(base + l.Site.Prefix),
		CSRFToken:  f.CSRFToken(l.Site.BrowserCookie(w, r)),
		Site:       site,
		Identifier: state.identifier,
	}
	if state.message != nil {
		data.Message = l.Site.Pages.Text(state.message.page, state.message.pageArgs...)
	}
	if state.missingIdentifier {
		data.IdentifierHint = l.Site.Pages.Text("login.name_missing")
	}
	if state.missingPassword {
		data.PasswordHint = l.Site.Pages.Text("login.password_missing")
	}
	web.Prepare(w.Header())
	return l.Site.Pages.Login(w, r, status, data)
}

// Lift forgets failed attempts at an account, from an address, or both together, in all
// sign-ins of this process, and returns how many.
func Lift(account, address string) int {
	lifted := 0
	attemptsPool.Range(func(_, value any) bool {
		lifted += value.(pooledAttempts).Lift(account, address)
		return true
	})
	return lifted
}
