// This file holds what each page shows: the contract with those who write their
// own, see docs/pages.md.

package pages

import (
	"net/http"
	"strconv"
)

// LoginData is what login.html shows: the sign-in form.
type LoginData struct {
	// Action is the URL that the form is sent to.
	Action string
	// CSRFToken goes along with the form.
	CSRFToken string
	// Site is what people sign in to, such as a host name.
	Site string
	// Identifier is the name that was typed before; may be empty.
	Identifier string
	// Message says what went wrong; empty on a fresh form.
	Message string
	// IdentifierHint and PasswordHint say what is wrong with one field.
	IdentifierHint, PasswordHint string
}

// Login answers with the sign-in form.
func (s *Set) Login(w http.ResponseWriter, r *http.Request, status int, data LoginData) error {
	return s.render(w, r, status, "login.html", data, formPage)
}

// ErrorData is what error.html shows.
type ErrorData struct {
	// Title heads the page; empty: a title that goes with the status.
	Title string
	// ID names the error; may be empty.
	ID string
	// Text is the sentence that helps; may be empty. The text of the ID stands
	// in its place, if there is one.
	Text string
	// Home is the link that leads on; empty: no link.
	Home string
}

// Error answers with an error page.
func (s *Set) Error(w http.ResponseWriter, r *http.Request, status int, data ErrorData) error {
	if data.Title == "" {
		data.Title = s.Text("error.title_" + titleOf(status))
	}
	if text, err := s.text("error." + data.ID); data.ID != "" && err == nil && text != "" {
		data.Text = text
	}
	return s.render(w, r, status, "error.html", data, linkPage)
}

// titleOf returns the last part of the key of an error's title.
func titleOf(status int) string {
	if _, ok := english["error.title_"+strconv.Itoa(status)]; ok {
		return strconv.Itoa(status)
	}
	if status >= 400 && status < 500 {
		return "400"
	}
	return "500"
}

// PendingData is what pending.html shows: a logout waits for the store.
type PendingData struct {
	// Home is the link that leads on; empty: no link.
	Home string
}

// Pending answers 202: a logout was noted, and is not done yet.
func (s *Set) Pending(w http.ResponseWriter, r *http.Request, data PendingData) error {
	return s.render(w, r, http.StatusAccepted, "pending.html", data, linkPage)
}

// ConfirmData is what confirm.html shows: it asks before it signs somebody out.
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

// Confirm answers with the page that asks.
func (s *Set) Confirm(w http.ResponseWriter, r *http.Request, data ConfirmData) error {
	return s.render(w, r, http.StatusOK, "confirm.html", data, formPage)
}

// SignedOutData is what signed_out.html shows.
type SignedOutData struct {
	// Home is the link that leads on; empty: no link.
	Home string
	// Done is the address of a picture to load: with it, browsers forget the
	// pages from before.
	Done string
}

// SignedOut answers that somebody is signed out.
func (s *Set) SignedOut(w http.ResponseWriter, r *http.Request, data SignedOutData) error {
	return s.render(w, r, http.StatusOK, "signed_out.html", data, picturePage)
}

// UnauthorizedData is what unauthorized.html shows to those who are not signed in.
type UnauthorizedData struct {
	// LoginURL leads to sign-in; empty: no link.
	LoginURL string
}

// Unauthorized answers 401 with a page. The WWW-Authenticate header is the
// caller's.
func (s *Set) Unauthorized(w http.ResponseWriter, r *http.Request, data UnauthorizedData) error {
	return s.render(w, r, http.StatusUnauthorized, "unauthorized.html", data, linkPage)
}

// SessionsData is what sessions.html shows: a person's sessions.
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
	// Kind is what sort of thing that is: desktop, phone or program.
	Kind string
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
func (s *Set) Sessions(w http.ResponseWriter, r *http.Request, data SessionsData) error {
	return s.render(w, r, http.StatusOK, "sessions.html", data, formPage)
}

// sample is data to try a page with: all that there can be, and nothing.
type sample struct{ full, empty any }

// samples holds the data of each page by the name of its file.
var samples = map[string]sample{
	"login.html": {LoginData{
		Action: "/x", CSRFToken: "x", Site: "x", Identifier: "x", Message: "x", IdentifierHint: "x", PasswordHint: "x",
	}, LoginData{}},
	"error.html":        {ErrorData{Title: "x", ID: "x", Text: "x", Home: "/x"}, ErrorData{}},
	"pending.html":      {PendingData{Home: "/x"}, PendingData{}},
	"confirm.html":      {ConfirmData{Action: "/x", Token: "x", Method: "GET", Home: "/x"}, ConfirmData{}},
	"signed_out.html":   {SignedOutData{Home: "/x", Done: "/x"}, SignedOutData{}},
	"unauthorized.html": {UnauthorizedData{LoginURL: "/x"}, UnauthorizedData{}},
	"sessions.html": {SessionsData{Action: "/x", CSRFToken: "x", Identity: "x", More: 1, Others: true, Sessions: []SessionRow{
		{ID: "x", Browser: "x", Kind: "phone", Address: "x", SignedIn: "x", Timestamp: "x", LastUsed: "x", Current: true},
	}}, SessionsData{}},
}
