package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// wire is an answer in normal form.
type wire struct {
	status       int
	contentType  string
	cacheControl string
	vary         string
	referrer     string // Referrer-Policy
	location     string
	allow        string
	errorID      string // Ory-Error-Id; "none" if the header is not there
	identity     bool   // X-Kratos-Authenticated-Identity-Id is there
	nosniff      bool
	csrfCookie   bool   // a CSRF cookie is set
	cookie       string // change of the session cookie: "", "set", "cleared"
	body         string // JSON with sorted keys, or the text as it is
}

const (
	noHeader   = "none"
	noStore    = "private, no-cache, no-store, must-revalidate"
	typeJSON   = "application/json; charset=utf-8"
	typeError  = "application/json"
	typeHTML   = "text/html; charset=utf-8"
	typeText   = "text/plain; charset=utf-8"
	cookieSet  = "set"
	cookieGone = "cleared"
)

// The original's answers. Its Cache-Control depends on the method alone, so the
// table does not repeat it: see [exchange.original].
var (
	noContent = wire{status: 204, errorID: noHeader}
	errorPage = seeOther("{app}/error?id=<uuid>")

	noSession = failed(401, "session_inactive", "No active session was found in this request.",
		"request does not have a valid authentication session")
	noCredentials = failed(401, "", "No valid session credentials found in the request.",
		"The request could not be authorized")
	wrongToken = failed(403, "", "Unable to log out because the logout token in the URL query does not match the session cookie.",
		forbidden)
	noToken = failed(400, "", "Please include a token in the URL query.", malformed)
	unknown = failed(403, "", "The provided Ory Session Token could not be found, is invalid, or otherwise malformed.",
		forbidden)
	emptyBody         = failed(400, "", `Unable to decode HTTP Request Body because its HTTP Header "Content-Length" is zero.`, malformed)
	returnToForbidden = failed(400, "self_service_flow_return_to_forbidden",
		`Requested return_to URL "https://evil.example/" is not allowed.`, malformed)

	// csrfViolation is what the original answers to a form without a CSRF
	// token; its texts are not ours to keep.
	csrfViolation = wire{status: 403, contentType: typeError, errorID: "security_csrf_violation", body: "{}"}

	notFound = wire{status: 404, contentType: typeText, errorID: noHeader, nosniff: true, body: "404 page not found\n"}

	whoamiOK = wire{status: 200, contentType: typeJSON, errorID: noHeader, identity: true, body: sessionJSON}
	headOK   = wire{status: 200, contentType: typeJSON, errorID: noHeader}
)

const (
	malformed = "The request was malformed or contained invalid parameters"
	forbidden = "The requested action was forbidden"
)

// sessionJSON is a session as clients read it.
const sessionJSON = `{"id":"<uuid>","active":true,"expires_at":"<date>","authenticated_at":"<date>",` +
	`"authenticator_assurance_level":"aal1",` +
	`"authentication_methods":[{"method":"password","aal":"aal1","completed_at":"<date>"}],"issued_at":"<date>",` +
	`"identity":{"id":"<identity>","schema_id":"default","schema_url":"<url>","state":"active",` +
	`"traits":{"email":"wire@example.test"}},` +
	`"devices":[{"id":"<uuid>","ip_address":"<address>","user_agent":null,"location":""}]}`

func failed(status int, id, reason, message string) wire {
	e := map[string]any{"code": status, "status": http.StatusText(status), "message": message}
	if reason != "" {
		e["reason"] = reason
	}
	if id != "" {
		e["id"] = id
	}
	b, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		panic(err)
	}
	return wire{status: status, contentType: typeError, errorID: id, body: string(b)}
}

func undecodable(detail string) wire {
	return failed(400, "", "Unable to decode JSON payload: "+detail, malformed)
}

func unsupported(contentType string) wire {
	return failed(400, "", `HTTP DELETE Request used unknown HTTP Header "Content-Type: `+contentType+
		`", only [application/json] are supported.`, malformed)
}

func seeOther(location string) wire {
	return wire{
		status: 303, contentType: typeHTML, errorID: noHeader, location: location,
		body: `<a href="` + location + `">See Other</a>.` + "\n\n",
	}
}

// flow is the answer to a logout that is created; query is what its URL carries
// before the token.
func flow(query string) wire {
	return wire{
		status: 200, contentType: typeJSON, errorID: noHeader,
		body: `{"logout_url":"{us}/self-service/logout?` + query + `token=<logout token>","logout_token":"<logout token>"}`,
	}
}

func notAllowed(allow string) wire {
	return wire{
		status: 405, contentType: typeText, errorID: noHeader, allow: allow,
		nosniff: true, body: "Method Not Allowed\n",
	}
}

func (w wire) csrf() wire   { w.csrfCookie = true; return w }
func (w wire) sets() wire   { w.cookie = cookieSet; return w }
func (w wire) clears() wire { w.cookie = cookieGone; return w }

// differences names the fields in which two answers differ.
func (w wire) differences(got wire) []string {
	var out []string
	a, b := w.fields(), got.fields()
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if a[name] != b[name] {
			out = append(out, fmt.Sprintf("%s\n\twant %s\n\tgot  %s", name, a[name], b[name]))
		}
	}
	return out
}

func (w wire) fields() map[string]string {
	return map[string]string{
		"status": strconv.Itoa(w.status), "content-type": w.contentType, "cache-control": w.cacheControl,
		"vary": w.vary, "referrer-policy": w.referrer, "location": w.location, "allow": w.allow,
		"ory-error-id": w.errorID, "identity header": strconv.FormatBool(w.identity),
		"nosniff": strconv.FormatBool(w.nosniff), "csrf cookie": strconv.FormatBool(w.csrfCookie),
		"session cookie": w.cookie, "body": canonical(w.body),
	}
}

var (
	uuids       = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	credentials = regexp.MustCompile(`ory_st_[0-9A-Za-z]{32}`)
	loTokens    = regexp.MustCompile(`ory_lo_[0-9A-Za-z]{84}`)
	dates       = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"`)
)

// normalise brings an answer of a server into normal form.
func normalise(s *caddyServer, a answer) wire {
	text := func(v string) string {
		v = strings.ReplaceAll(v, strings.TrimSuffix(s.URL(""), "/"), "{us}")
		v = strings.ReplaceAll(v, appURL, "{app}")
		v = uuids.ReplaceAllString(v, "<uuid>")
		v = credentials.ReplaceAllString(v, "<credential>")
		return loTokens.ReplaceAllString(v, "<logout token>")
	}
	w := wire{
		status:       a.status,
		contentType:  a.header.Get("Content-Type"),
		cacheControl: strings.Join(a.header.Values("Cache-Control"), " | "),
		vary:         strings.Join(a.header.Values("Vary"), ", "),
		referrer:     strings.Join(a.header.Values("Referrer-Policy"), " | "),
		location:     text(a.header.Get("Location")),
		allow:        a.header.Get("Allow"),
		errorID:      noHeader,
		identity:     a.header.Get("X-Kratos-Authenticated-Identity-Id") != "",
		nosniff:      a.header.Get("X-Content-Type-Options") == "nosniff",
		body:         dates.ReplaceAllString(text(a.body), `"<date>"`),
	}
	if v, ok := a.header["Ory-Error-Id"]; ok {
		w.errorID = strings.Join(v, " | ")
	}
	for _, line := range a.header.Values("Set-Cookie") {
		switch name, _, _ := strings.Cut(line, "="); {
		case strings.HasPrefix(name, "csrf_token"):
			w.csrfCookie = true
		case name == cookieName:
			w.cookie += cookieFate(line)
		default:
			w.cookie += "unknown cookie " + name
		}
	}
	w.body = keepWhatMatters(w.body)
	return w
}

var (
	settingCookie  = regexp.MustCompile(`^ory_kratos_session=ory_st_[a-z2-7]{32}; Path=/; (Expires=[^;]+; )?Max-Age=(86400|8639\d); HttpOnly; SameSite=Lax$`)
	clearingCookie = regexp.MustCompile(`^ory_kratos_session=; Path=/; (Expires=Thu, 01 Jan 1970 00:00:0[01] GMT; )?Max-Age=0; HttpOnly; SameSite=Lax$`)
)

// cookieFate says what a Set-Cookie line does to the session cookie. A line
// that deletes has an empty value and the attributes of the line that created.
func cookieFate(line string) string {
	switch {
	case settingCookie.MatchString(line):
		return cookieSet
	case clearingCookie.MatchString(line):
		return cookieGone
	}
	return "malformed: " + credentials.ReplaceAllString(line, "<credential>")
}
