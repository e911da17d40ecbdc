package signin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/login"
	"github.com/caddy-logout/caddy-logout/pages"
	"github.com/caddy-logout/caddy-logout/session"
)

// Form is what a client sends to sign in.
type Form struct {
	Method     string `json:"method"`
	Identifier string `json:"identifier"`
	Password   string `json:"password"`
	CSRFToken  string `json:"csrf_token"`
}

// Texts of a sign-in that failed.
var (
	TextWrong = uiText{
		ID: 4000006, Type: "error", page: "login.wrong",
		Text: "The name or the password is wrong. Please check the spelling of both.",
	}
	textMethod = uiText{
		ID: 4010002, Type: "error", page: "login.method",
		Text: "This way to sign in is not known here. Did you choose the method \"password\"?",
	}
	textTooMany = uiText{ID: 4000027, Type: "error", page: "login.too_many"}
	textBusy    = uiText{
		ID: 4000027, Type: "error", page: "login.busy",
		Text: "Many people are signing in right now. Please try again in a few seconds.",
	}
)

// submit signs a person in. It checks the flow, the return URL and the origin of the
// request first, then the limit on attempts, and the password last.
func (l *Handler) submit(w http.ResponseWriter, r *http.Request) error {
	site := l.Site
	switch {
	case httpx.Speculative(r):
		return site.FailJSON(w, r, web.ErrSpeculative())
	case httpx.EarlyData(r):
		return site.FailJSON(w, r, web.ErrTooEarly())
	}
	f, err := parseFlow(r.URL.Query().Get("flow"), site.Now())
	if err != nil {
		if httpx.WantsJSON(r) {
			return site.FailJSON(w, r, err)
		}
		return l.beginAgain(w, r)
	}
	if err := l.readQuery(r, &f); err != nil {
		return l.refuse(w, r, f, err)
	}
	form, err := readForm(w, r)
	if err != nil {
		return l.refuse(w, r, f, err)
	}
	if err := l.checkOrigin(r, f, form); err != nil {
		return l.refuse(w, r, f, err)
	}
	form.Identifier = strings.TrimSpace(form.Identifier) // phones add a space
	state := flowState{identifier: web.Clip(strings.ToValidUTF8(form.Identifier, ""), login.MaxName)}
	switch {
	case form.Method != "password":
		state.message = &textMethod
		return l.answerFlow(w, r, http.StatusBadRequest, f, state)
	case form.Identifier == "" || form.Password == "":
		state.missingIdentifier, state.missingPassword = form.Identifier == "", form.Password == ""
		return l.answerFlow(w, r, http.StatusBadRequest, f, state)
	}
	account, err := l.verify(r, form)
	if err != nil {
		return l.failTry(w, r, f, state, err)
	}
	return l.signIn(w, r, f, account)
}

// asJSON reports whether the response to a submission is JSON.
func (f *Flow) asJSON(r *http.Request) bool { return f.api || httpx.WantsJSON(r) }

// readForm reads a form or a JSON body. Errors do not repeat the input.
func readForm(w http.ResponseWriter, r *http.Request) (Form, error) {
	var form Form
	body := http.MaxBytesReader(w, r.Body, web.MaxBodyLength)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		decoder := json.NewDecoder(body)
		if err := decoder.Decode(&form); err != nil {
			return form, web.BodyError(err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return form, web.NewError(http.StatusBadRequest, "request_body_invalid",
				"Unable to decode JSON payload: there is more than one object.", web.MsgBadRequest)
		}
	case "application/x-www-form-urlencoded":
		text, err := io.ReadAll(body)
		if err != nil {
			return form, web.BodyError(err)
		}
		values, err := url.ParseQuery(string(text))
		if err != nil {
			return form, web.NewError(http.StatusBadRequest, "request_body_invalid",
				"Unable to decode the form: it is not valid.", web.MsgBadRequest)
		}
		form = Form{
			Method: values.Get("method"), Identifier: values.Get("identifier"),
			Password: values.Get("password"), CSRFToken: values.Get("csrf_token"),
		}
	default:
		return form, web.NewError(http.StatusUnsupportedMediaType, "request_content_type_unsupported",
			"The body of this request must be JSON or a form, and its Content-Type must say so.", web.MsgBadRequest)
	}
	return form, nil
}

// checkOrigin refuses what a page of another site made the browser send. To be
// signed in to an attacker's account unawares (login CSRF) is an attack, too.
func (l *Handler) checkOrigin(r *http.Request, f Flow, form Form) error {
	site := l.Site
	if f.api {
		// An API flow returns its token to the client that sent the password, so no
		// script in a browser may use it: it would keep the token where scripts can
		// steal it, instead of in a cookie that they cannot read.
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			return web.NewError(http.StatusBadRequest, "api_flow_in_browser",
				"This flow is for clients that are not browsers, and the request came from a browser. Please use "+browserPath+" instead.", web.MsgBadRequest)
		}
		return nil
	}
	if httpx.CrossSite(r, site.Base(r)) {
		return web.ErrCSRF("This sign-in came from a page of another site.")
	}
	token := form.CSRFToken
	if token == "" {
		token = r.Header.Get("X-CSRF-Token")
	}
	secret := site.PresentBrowserCookie(r)
	switch {
	case secret == "":
		return web.ErrCSRF("The cookie that goes with this sign-in was not sent. Please allow cookies for this site and begin again.")
	case token == "":
		return web.ErrCSRF("The csrf_token was not sent. Please begin again.")
	case !f.csrfMatches(secret, token):
		return web.ErrCSRF("The csrf_token does not go with this browser, perhaps because of a sign-in in another tab. Please begin again.")
	}
	return nil
}

// tooManyError says how long a client has to wait for its next attempt.
type tooManyError struct{ wait time.Duration }

func (tooManyError) Error() string { return "too many failed attempts" }

// verify compares the password, if the limit on attempts allows one more.
func (l *Handler) verify(r *http.Request, form Form) (login.Account, error) {
	ip := httpx.ClientIP(r)
	if wait, ok := l.attempts.Begin(form.Identifier, ip); !ok {
		return login.Account{}, tooManyError{wait}
	}
	account, err := l.accounts.Verify(r.Context(), form.Identifier, form.Password)
	switch {
	case err == nil:
		l.attempts.Succeeded(form.Identifier, ip)
	case !errors.Is(err, login.ErrWrong):
		l.attempts.Withdrawn(form.Identifier, ip)
	}
	return account, err
}

// failTry answers a failed attempt. The response never says whether the account
// exists, also when too many attempts block it.
func (l *Handler) failTry(w http.ResponseWriter, r *http.Request, f Flow, state flowState, err error) error {
	var tooMany tooManyError
	switch {
	case errors.As(err, &tooMany):
		l.auditRefused(r, f, state.identifier, "too_many_attempts")
		seconds := int(math.Ceil(tooMany.wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		text := textTooMany
		english := new(pages.Set)
		text.Text = english.Text(text.page, inWords(english, tooMany.wait))
		text.pageArgs = []any{inWords(l.Site.Pages, tooMany.wait)}
		if f.asJSON(r) {
			return l.Site.FailJSON(w, r, web.NewError(http.StatusTooManyRequests, "too_many_attempts", text.Text, "Too many requests"))
		}
		state.message = &text
		return l.writePage(w, r, http.StatusTooManyRequests, f, state)
	case errors.Is(err, login.ErrWrong):
		l.auditRefused(r, f, state.identifier, "wrong_name_or_password")
		state.message = &TextWrong
		return l.answerFlow(w, r, http.StatusBadRequest, f, state)
	default: // too many at once, or the client is gone
		l.auditRefused(r, f, state.identifier, "too_many_sign_ins")
		if f.asJSON(r) {
			return l.Site.FailJSON(w, r, web.NewError(http.StatusServiceUnavailable, "too_many_sign_ins", textBusy.Text, web.MsgUnavailable))
		}
		w.Header().Set("Retry-After", strconv.Itoa(web.RetryAfter))
		state.message = &textBusy
		return l.writePage(w, r, http.StatusServiceUnavailable, f, state)
	}
}

// inWords rounds up to what a person would say.
func inWords(texts *pages.Set, wait time.Duration) string {
	if minutes := int(math.Ceil(wait.Minutes())); minutes > 1 {
		return texts.Text("time.minutes", minutes)
	}
	return texts.Text("time.minute")
}

// signIn makes the session and hands it out. It is always a new session with a new
// credential (session fixation), and the browser's former sessions end.
func (l *Handler) signIn(w http.ResponseWriter, r *http.Request, f Flow, account login.Account) error {
	site := l.Site
	location, err := l.returnURL(r, f.returnTo)
	if err != nil {
		return l.refuse(w, r, f, web.ErrReturnURL(f.returnTo, err))
	}
	n := manager.NewSession{Identity: account.Name, Traits: account.Traits, Method: "password", Device: httpx.DeviceOf(r)}
	if !f.api {
		for _, c := range site.Format.Locate(r, nil) {
			if c.From == session.FromCookie {
				n.Ending = append(n.Ending, site.Format.Key(c))
			}
		}
	}
	credential, s, err := site.Issue(r.Context(), n)
	if err != nil {
		return l.refuse(w, r, f, err)
	}
	if !f.api {
		if err := l.endPrevious(r); err != nil {
			site.Discard(r.Context(), s)
			return l.refuse(w, r, f, err)
		}
	}
	site.Audit(r, telemetry.Entry{Event: telemetry.EventIssued, Trigger: f.trigger(), Outcome: telemetry.OutcomeIssued}.OfSession(s))
	base := site.Base(r)
	if f.api {
		return web.WriteJSON(w, http.StatusOK, struct {
			Token        string      `json:"session_token"`
			Session      web.Session `json:"session"`
			ContinueWith *struct{}   `json:"continue_with"`
		}{Token: credential.Secret(), Session: web.SessionJSON(s, base)})
	}
	site.RotateBrowserCookie(w, r)
	site.SetSessionCookie(w, r, credential, s)
	if !httpx.WantsJSON(r) {
		return web.Redirect(w, r, location)
	}
	return web.WriteJSON(w, http.StatusOK, struct {
		Session      web.Session         `json:"session"`
		ContinueWith []map[string]string `json:"continue_with"`
	}{
		Session:      web.SessionJSON(s, base),
		ContinueWith: []map[string]string{{"action": "redirect_browser_to", "redirect_browser_to": location}},
	})
}

// endPrevious ends the sessions whose cookies the request carries: a browser has one
// session, and a former one must not outlive the change of person. The sessions end
// even if the client disconnects now.
func (l *Handler) endPrevious(r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
	for _, c := range l.Site.Format.Locate(r, nil) {
		if c.From != session.FromCookie {
			continue
		}
		found, err := l.Site.Lookup(ctx, c)
		if err != nil {
			return err
		}
		if found.Session == nil {
			continue
		}
		if err := l.Site.End(ctx, found.Session, manager.TriggerOf(r, telemetry.BySignIn)); err != nil {
			return err
		}
	}
	return nil
}

// trigger names the flow in the audit log.
func (f *Flow) trigger() string {
	if f.api {
		return telemetry.ByLoginAPI
	}
	return telemetry.ByLoginBrowser
}

// answerFlow answers with the form and what is wrong with it.
func (l *Handler) answerFlow(w http.ResponseWriter, r *http.Request, status int, f Flow, state flowState) error {
	if f.asJSON(r) {
		return l.writeFlow(w, r, status, f, state)
	}
	return l.writePage(w, r, status, f, state)
}

// refuse answers a submission with an error. A browser gets it as a page at
// once: to keep it for the error page would give a browser whose cookie did not
// come along, as in a forged request, another cookie instead of its own.
func (l *Handler) refuse(w http.ResponseWriter, r *http.Request, f Flow, err error) error {
	l.Site.Audit(r, telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: f.trigger()}.Failed(err))
	if f.asJSON(r) {
		return l.Site.FailJSON(w, r, err)
	}
	e := l.Site.AsAPIError(r, err)
	web.Prepare(w.Header())
	web.ErrorHeaders(w.Header(), e)
	return l.Site.Pages.Error(w, r, e.Code, pages.ErrorData{
		ID: e.ID, Text: e.Sentence(), Home: l.Site.Base(r) + l.Site.Prefix + browserPath, SignIn: true,
	})
}

// auditRefused records that an attempt failed. It records the name only if there is
// such an account: people type passwords into that field.
func (l *Handler) auditRefused(r *http.Request, f Flow, identifier, reason string) {
	e := telemetry.Entry{Event: telemetry.EventSignInRefused, Trigger: f.trigger(), Outcome: telemetry.OutcomeRefused, Reason: reason}
	if l.accounts.Has(identifier) {
		e.Identity = identifier
	}
	l.Site.Audit(r, e)
}
