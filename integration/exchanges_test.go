package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// exchange is a request, and what the original and we answer.
type exchange struct {
	n           int
	name        string
	method      string // GET if empty
	path        string
	accept      string // a header line; none is sent if empty
	contentType string // a header line
	cookie      string // the value of the Cookie header
	header      string // one more header line
	body        string

	// was is the original's answer; then is what whoami says of the cookie
	// afterwards, 0 if nobody asked.
	was  wire
	then int
	// now and nowThen are ours, where the row differs by intent; why says why.
	now     wire
	nowThen int
	why     string
}

var exchanges = slices.Concat(exchangesLogin, exchangesSubmit, exchangesAPI)

// Our reasons, where they differ from the original's.
const (
	cutJSON   = "it ends too early."
	notObject = "want an object."
	notString = "a field has the wrong type."
	badType   = `The body of this request must be JSON, with the HTTP Header "Content-Type: application/json".`
)

// ourErrorIDs are the ids of errors that have none in the original, by reason.
var ourErrorIDs = map[string]string{
	"No valid session credentials found in the request.":                                             "session_inactive",
	"Please include a token in the URL query.":                                                       "logout_token_missing",
	"Unable to log out because the logout token in the URL query does not match the session cookie.": "logout_token_mismatch",
	"The provided Ory Session Token could not be found, is invalid, or otherwise malformed.":         "session_token_invalid",
	`Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.`:           "request_body_missing",
	"Unable to decode JSON payload: " + cutJSON:                                                      "request_body_invalid",
	"Unable to decode JSON payload: " + notObject:                                                    "request_body_invalid",
	"Unable to decode JSON payload: " + notString:                                                    "request_body_invalid",
	badType: "request_content_type_unsupported",
}

// original is the original's answer, with what it sends on every answer.
func (e exchange) original() wire {
	w := e.was
	w.vary = "Cookie"
	if e.verb() == http.MethodGet {
		w.cacheControl = noStore
	}
	return w
}

func (e exchange) verb() string {
	if e.method == "" {
		return http.MethodGet
	}
	return e.method
}

// everywhere applies the differences that are on every answer of a kind:
//   - no answer is kept by a cache, whatever the method, and all of them depend
//     on Accept; no address of ours goes out as a Referer; no type is guessed.
//   - a CSRF cookie is set where something is bound to it (sign-in, an error
//     page) and nowhere else.
//   - 404 and 405 are JSON, as all other errors.
//   - every error has an id.
func everywhere(w wire, login bool) wire {
	w.cacheControl, w.vary, w.referrer, w.nosniff = noStore, "Accept, Cookie", "no-referrer", true
	w.csrfCookie = w.csrfCookie && (login || w.location == errorPage.location)
	switch {
	case w.status == 404:
		e := failed(404, "not_found", "", "Unable to locate the resource")
		w.contentType, w.errorID, w.body = e.contentType, e.errorID, e.body
	case w.status == 405:
		e := failed(405, "method_not_allowed", "This address answers "+w.allow+".", "The method is not allowed here")
		w.contentType, w.errorID, w.body = e.contentType, e.errorID, e.body
	case w.errorID == "":
		var envelope struct {
			Error map[string]any `json:"error"`
		}
		if err := json.Unmarshal([]byte(w.body), &envelope); err != nil {
			panic(err) // the table is ours
		}
		reason, _ := envelope.Error["reason"].(string)
		envelope.Error["id"] = ourErrorIDs[reason]
		w.errorID, w.body = ourErrorIDs[reason], marshal(envelope)
	}
	return w
}

// expected is what we answer.
func (e exchange) expected() wire {
	w := e.was
	if e.why != "" {
		w = e.now
	}
	return everywhere(w, e.n <= 2)
}

// TestExchangesAreComplete keeps the table honest: every exchange once, and no
// difference where both are equal.
func TestExchangesAreComplete(t *testing.T) {
	if len(exchanges) != 98 {
		t.Errorf("%d exchanges, want 98", len(exchanges))
	}
	for i, e := range exchanges {
		if e.n != i+1 {
			t.Errorf("row %d is exchange %d: one is missing, twice or out of order", i+1, e.n)
		}
		differs := e.now.status != 0 || e.nowThen != 0
		switch {
		case differs != (e.why != ""):
			t.Errorf("exchange %d: a difference and its reason go together", e.n)
		case differs && len(everywhere(e.was, e.n <= 2).differences(e.expected())) == 0 && e.then == e.nowThen:
			t.Errorf("exchange %d: the difference is none", e.n)
		case len(e.original().differences(e.expected())) == 0:
			t.Errorf("exchange %d: %s: nothing differs everywhere any more", e.n, e.name)
		}
	}
}

// TestExchanges replays the table against a real Caddy on both stores.
func TestExchanges(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		replay := &replay{caddyServer: startWith(t, store), cookies: map[string]string{}, tokens: map[string]string{}, urls: map[string]string{}}
		for _, e := range exchanges {
			t.Run(fmt.Sprintf("%02d %s", e.n, e.name), func(t *testing.T) { replay.row(t, e) })
		}
	})
}

// replay is one run through the table. Sessions have names in it; each is made
// when a row first needs it.
type replay struct {
	*caddyServer
	cookies map[string]string // of browsers: session and CSRF cookie
	tokens  map[string]string // credentials of apps
	urls    map[string]string // logout URLs, as path and query
	csrf    string            // of the login flow in hand
}

func (r *replay) row(t *testing.T, e exchange) {
	// Addresses first: the login flow brings the cookies and the token.
	path := r.fill(t, e.path)
	cookie, body := r.fill(t, e.cookie), r.fill(t, e.body)
	header := slices.DeleteFunc([]string{e.accept, e.contentType, r.fill(t, e.header)}, func(s string) bool { return s == "" })
	if cookie != "" {
		header = append(header, "Cookie: "+cookie)
	}
	want := e.expected()
	if strings.Contains(want.body, "{live}") {
		list := call(t, http.MethodGet, r.URL("/sessions"), "", header...)
		var others []json.RawMessage
		decode(t, list.body, &others)
		if len(others) < 10 {
			t.Fatalf("%d other sessions: the rows before have left more", len(others))
		}
		want.body = strings.ReplaceAll(want.body, "{live}", strconv.Itoa(len(others)))
	}

	a := call(t, e.verb(), r.address(path), body, header...)
	for _, d := range want.differences(normalise(r.caddyServer, a)) {
		t.Error(d)
	}
	if strings.Contains(a.body, `"error":{`) && (!strings.HasPrefix(a.body, `{"error":{"id":"`) || !strings.HasSuffix(a.body, "}\n")) {
		t.Errorf("error envelope: want the id first and a newline last: %q", a.body)
	}
	then := e.then
	if e.why != "" {
		then = e.nowThen
	}
	if then != 0 {
		if got := whoami(t, r.caddyServer, "Cookie: "+cookie); got != then {
			t.Errorf("whoami afterwards: %d, want %d", got, then)
		}
	}
}

// address makes a path absolute; a login flow's action is so already.
func (r *replay) address(path string) string {
	if strings.HasPrefix(path, "/") {
		return r.URL(path)
	}
	return path
}

var placeholder = regexp.MustCompile(`\{([a-z]+)(?::([a-z]+))?(\?[^}]*)?\}|\{login cookies\}|\{csrf token\}`)

// fill replaces the placeholders of a row:
//
//	{c:a}            the cookies of browser a: its session's and a CSRF cookie
//	{only:a}         its session cookie alone
//	{value:a}        the value of that
//	{garbage}        a session cookie that never was
//	{st:t}           the credential of app t
//	{logout:a}       the logout URL of browser a; {logout:a?…} adds to the query
//	{action:kind}    where a new login flow is submitted; then
//	{login cookies}  and {csrf token} belong to it
func (r *replay) fill(t *testing.T, s string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(s, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		kind, name, query := m[1], m[2], m[3]
		switch {
		case p == "{login cookies}":
			return r.cookies["login"]
		case p == "{csrf token}":
			return jsonEscaped(r.csrf)
		case p == "{garbage}":
			return cookieName + "=garbage"
		case kind == "action":
			flow, cookies := startLogin(t, r.caddyServer, name)
			r.csrf, r.cookies["login"] = flow.csrfToken(), cookies
			return flow.UI.Action
		case kind == "c":
			return r.browser(t, name)
		case kind == "only":
			return sessionOnly(r.browser(t, name))
		case kind == "value":
			return strings.TrimPrefix(sessionOnly(r.browser(t, name)), cookieName+"=")
		case kind == "st":
			if r.tokens[name] == "" {
				r.tokens[name] = signIn(t, r.caddyServer)
			}
			return r.tokens[name]
		case kind == "logout":
			if r.urls[name] == "" {
				flow := createLogout(t, r.caddyServer, r.browser(t, name), query)
				r.urls[name] = strings.TrimPrefix(flow.URL, r.URL(""))
			}
			return r.urls[name]
		}
		return p // not one of ours: {live}, JSON, {$PORT}
	})
}

func (r *replay) browser(t *testing.T, name string) string {
	t.Helper()
	if r.cookies[name] == "" {
		r.cookies[name] = signInBrowser(t, r.caddyServer)
	}
	return r.cookies[name]
}

// sessionOnly drops all but the session cookie from a Cookie header.
func sessionOnly(cookies string) string {
	for c := range strings.SplitSeq(cookies, "; ") {
		if strings.HasPrefix(c, cookieName+"=") {
			return c
		}
	}
	return ""
}

// jsonEscaped is s as it stands inside a JSON string.
func jsonEscaped(s string) string { return strings.Trim(marshal(s), `"`) }
