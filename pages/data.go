package pages

import (
	"net/http"
	"strconv"
)

// LoginData is the data of login.html, the sign-in form.
type LoginData struct {
	// Action is the URL that the form is sent to.
	Action string
	// CSRFToken goes along with the form.
	CSRFToken string
	// Site is the host and port that people sign in to.
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

// ErrorData is the data of error.html.
type ErrorData struct {
	// Title is the heading; empty: the title of the status.
	Title string
	// ID names the error; may be empty.
	ID string
	// Text says what happened and what to do; may be empty. The text of the ID
	// replaces it, if there is one.
	Text string
	// Home is where the button leads; empty: no button.
	Home string
	// SignIn is true if Home is the sign-in page.
	SignIn bool
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

// PendingData is the data of pending.html: a logout waits for the store.
type PendingData struct {
	// Home is where the button leads; empty: no button.
	Home string
}

// Pending answers 202: a logout was recorded, and waits for the store.
func (s *Set) Pending(w http.ResponseWriter, r *http.Request, data PendingData) error {
	return s.render(w, r, http.StatusAccepted, "pending.html", data, linkPage)
}

// ConfirmData is the data of confirm.html, the question before a sign-out.
type ConfirmData struct {
	// Action is the URL that the form is sent to.
	Action string
	// Token is the logout token that goes along with the form; may be empty.
	Token string
	// Method is that of the request which led here.
	Method string
	// Home is where the link "stay signed in" leads; empty: no link.
	Home string
}

// Confirm answers with the question before a sign-out.
func (s *Set) Confirm(w http.ResponseWriter, r *http.Request, data ConfirmData) error {
	return s.render(w, r, http.StatusOK, "confirm.html", data, formPage)
}

// SignedOutData is the data of signed_out.html.
type SignedOutData struct {
	// Home is where the button leads; empty: no button.
	Home string
	// Done is the address of an image. When browsers load it, they drop the app's
	// pages from their back/forward cache.
	Done string
}

// SignedOut answers with the signed-out page.
func (s *Set) SignedOut(w http.ResponseWriter, r *http.Request, data SignedOutData) error {
	return s.render(w, r, http.StatusOK, "signed_out.html", data, picturePage)
}

// UnauthorizedData is the data of unauthorized.html, the page without a session.
type UnauthorizedData struct {
	// LoginURL leads to sign-in; empty: no link.
	LoginURL string
}

// Unauthorized answers 401 with a page. The WWW-Authenticate header is the
// caller's.
func (s *Set) Unauthorized(w http.ResponseWriter, r *http.Request, data UnauthorizedData) error {
	return s.render(w, r, http.StatusUnauthorized, "unauthorized.html", data, linkPage)
}

// SessionsData is the data of sessions.html, the list of a person's sessions.
type SessionsData struct {
	// Action is the URL that the form is sent to.
	Action string
	// CSRFToken goes along with the form.
	CSRFToken string
	// Identity is the id of the person.
	Identity string
	// Sessions are the live sessions, the current one first.
	Sessions []SessionRow
	// More is how many more there are.
	More int
	// Others is true if there are others than the current one.
	Others bool
}

// SessionRow is one session, in words.
type SessionRow struct {
	// ID is what the form sends to end this session.
	ID string
	// Browser is what the person signed in with.
	Browser string
	// Kind is desktop, phone or program.
	Kind string
	// Address is the network address of the sign-in; may be empty.
	Address string
	// SignedIn says how long ago the sign-in was, Timestamp when (RFC 3339).
	SignedIn, Timestamp string
	// LastUsed says how long ago the session was used; may be empty.
	LastUsed string
	// Current marks the current session.
	Current bool
}

// Sessions answers with the list of a person's sessions.
func (s *Set) Sessions(w http.ResponseWriter, r *http.Request, data SessionsData) error {
	return s.render(w, r, http.StatusOK, "sessions.html", data, formPage)
}

// sample is data to render a page with: every field set, and none.
type sample struct{ full, empty any }

// samples holds the data of each page by the name of its file.
var samples = map[string]sample{
	"login.html": {LoginData{
		Action: "/x", CSRFToken: "x", Site: "x", Identifier: "x", Message: "x", IdentifierHint: "x", PasswordHint: "x",
	}, LoginData{}},
	"error.html":        {ErrorData{Title: "x", ID: "x", Text: "x", Home: "/x", SignIn: true}, ErrorData{}},
	"pending.html":      {PendingData{Home: "/x"}, PendingData{}},
	"confirm.html":      {ConfirmData{Action: "/x", Token: "x", Method: "GET", Home: "/x"}, ConfirmData{}},
	"signed_out.html":   {SignedOutData{Home: "/x", Done: "/x"}, SignedOutData{}},
	"unauthorized.html": {UnauthorizedData{LoginURL: "/x"}, UnauthorizedData{}},
	"sessions.html": {SessionsData{Action: "/x", CSRFToken: "x", Identity: "x", More: 1, Others: true, Sessions: []SessionRow{
		{ID: "x", Browser: "x", Kind: "phone", Address: "x", SignedIn: "x", Timestamp: "x", LastUsed: "x", Current: true},
	}}, SessionsData{}},
}
