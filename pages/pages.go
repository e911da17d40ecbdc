// Package pages holds the few HTML pages that we show ourselves: the sign-in
// form, errors, and goodbye. They are embedded, need no JavaScript, and load
// nothing from anywhere.
package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed html
var files embed.FS

// css is the one style sheet, and stands in each page: a page that loads nothing
// looks right wherever it is mounted, also while everything else is down.
var css = func() string {
	text, err := files.ReadFile("html/page.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}()

// policy is the Content-Security-Policy of every page: nothing may load or run
// but this very style sheet, nobody may frame a page (clickjacking), and no
// <base> that got in may turn the form elsewhere.
var policy = func() string {
	sum := sha256.Sum256([]byte(css))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; frame-ancestors 'none'"
}()

// noForms is added to the policy of pages without a form. The sign-in page goes
// without form-action: Chromium applies it to each redirect that answers the
// form, so it would have to list not only the return URL, which may be on
// another host, but also wherever the app redirects from there.
const noForms = "; form-action 'none'"

var (
	loginPage        = parse("login")
	errorPage        = parse("error")
	unauthorizedPage = parse("unauthorized")
	pendingPage      = parse("pending")
	confirmPage      = parse("confirm")
	sessionsPage     = parse("sessions")
)

func parse(name string) *template.Template {
	functions := template.FuncMap{"css": func() template.CSS { return template.CSS(css) }} //nolint:gosec // it is ours
	return template.Must(template.New("layout.html").Funcs(functions).
		ParseFS(files, "html/layout.html", "html/"+name+".html"))
}

// LoginData is what the sign-in page shows.
type LoginData struct {
	// Action is the URL that the form is sent to.
	Action string
	// CSRFToken goes along with the form.
	CSRFToken string
	// Site is what people sign in to, such as a host name; may be empty.
	Site string
	// Identifier is the name that was typed before; may be empty.
	Identifier string
	// Message says what went wrong; empty on a fresh form.
	Message string
	// IdentifierHint and PasswordHint say what is wrong with one field.
	IdentifierHint, PasswordHint string
}

// Login answers with the sign-in form.
func Login(w http.ResponseWriter, r *http.Request, status int, data LoginData) error {
	// Not no-referrer as on all other pages: under that, browsers send the form
	// with "Origin: null" (Fetch standard, section 3.2), which tells our form
	// from one on another site no more. To another site nothing is sent either.
	return render(w, r, status, loginPage, data, policy, "same-origin")
}

// ErrorData is what an error page shows.
type ErrorData struct {
	// Title heads the page; empty: a title that goes with the status.
	Title string
	// ID names the error.
	ID string
	// Reason is the sentence that helps. If it is empty, Message is shown.
	Reason string
	// Message is the sentence for this kind of error.
	Message string
	// Home is the link that leads on; empty: no link.
	Home string
}

// Error answers with an error page.
func Error(w http.ResponseWriter, r *http.Request, status int, data ErrorData) error {
	if data.Title == "" {
		data.Title = title(status)
	}
	return render(w, r, status, errorPage, data, policy+noForms, "no-referrer")
}

// title says what a status means to a person.
func title(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "You are not signed in"
	case status == http.StatusForbidden:
		return "This was not allowed"
	case status == http.StatusNotFound:
		return "There is nothing here"
	case status == http.StatusGone:
		return "This has expired"
	case status == http.StatusTooManyRequests:
		return "Too many tries"
	case status == http.StatusServiceUnavailable:
		return "Back in a moment"
	case status >= 400 && status < 500:
		return "This did not work"
	default:
		return "Something went wrong"
	}
}

// PendingData is what the page of a logout that waits for the store shows.
type PendingData struct {
	// Home is the link that leads on; empty: no link.
	Home string
}

// Pending answers 202: a logout was noted, and is not done yet.
func Pending(w http.ResponseWriter, r *http.Request, data PendingData) error {
	return render(w, r, http.StatusAccepted, pendingPage, data, policy+noForms, "no-referrer")
}

// ConfirmData is what the page shows that asks before it signs somebody out.
type ConfirmData struct {
	// Action is the URL that the form is sent to.
	Action string
	// Token is the logout token that goes along with the form; may be empty.
	Token string
	// Method is that of the request which led here.
	Method string
	// Home is the link for those who stay; empty: no link.
	Home string
}

// Confirm answers with the page that asks. Its form is sent as that of [Login].
func Confirm(w http.ResponseWriter, r *http.Request, data ConfirmData) error {
	return render(w, r, http.StatusOK, confirmPage, data, policy, "same-origin")
}

// UnauthorizedData is what the page for those who are not signed in shows.
type UnauthorizedData struct {
	// LoginURL leads to sign-in; empty: no link.
	LoginURL string
}

// Unauthorized answers 401 with a page. The WWW-Authenticate header is the
// caller's.
func Unauthorized(w http.ResponseWriter, r *http.Request, data UnauthorizedData) error {
	return render(w, r, http.StatusUnauthorized, unauthorizedPage, data, policy+noForms, "no-referrer")
}

// render writes a page in one piece: one that cannot be made is an error before
// anything was sent. A HEAD gets the headers alone.
func render(w http.ResponseWriter, r *http.Request, status int, page *template.Template, data any, csp, referrer string) error {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", referrer)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body.Bytes())
	return err
}
