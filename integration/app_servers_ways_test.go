package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// attackCookies sends the session cookie under names that an app may decode into
// its name.
func attackCookies(t *testing.T, s *caddyServer, servers []*appServer, token string) {
	lines := []string{}
	for _, name := range []string{
		cookieName, "ory%5Fkratos_session", "ory%5fkratos%5fsession", "ory.kratos_session", "ory.kratos.session", "ory kratos_session",
		"ory+kratos_session", "ory[kratos_session", cookieName + "[]", cookieName + "[x]", cookieName + "[", " " + cookieName, "\t" + cookieName,
		cookieName + " ", cookieName + "\t", "%6fry_kratos_session", cookieName + "%00", cookieName + "%20", "\"" + cookieName + "\"",
		strings.ToUpper(cookieName), "$" + cookieName, "a=" + cookieName, "," + cookieName, "a=1," + cookieName, "a=1, " + cookieName, "=" + cookieName,
		"a=\"1\" " + cookieName, "$Version=1; " + cookieName, "$Version=1, " + cookieName, "__Host-" + cookieName, "a;" + cookieName,
		"a=\"1; " + cookieName, "\x0b" + cookieName, "\xa0" + cookieName, "\x85" + cookieName, "\xef\xbb\xbf" + cookieName,
	} {
		lines = append(lines, name+"="+token, "theme=dark; "+name+"=\""+token+"\"; a=1")
	}
	sideBySide(t, "the session cookie", servers, func(i int, _ *appServer) (tries int, through []string) {
		arrived := 0
		for _, line := range lines {
			tries++
			_, got, err := ask(t, s, "GET /public/x HTTP/1.1\r\nHost: "+appHost("mandatory", i)+"\r\nX-Session-Token: "+token+"\r\nCookie: "+line+"\r\n\r\n")
			if err != nil {
				through = append(through, err.Error())
			}
			if got == nil {
				continue
			}
			arrived++
			if value, ok := got.Cookies[cookieName]; ok {
				through = append(through, strings.ReplaceAll(fmt.Sprintf("%q: the app reads %q", line, value), token, "TOKEN"))
			}
		}
		if arrived < len(lines)*3/4 {
			through = append(through, fmt.Sprintf("of %d requests, %d got to the app: this shows nothing", len(lines), arrived))
		}
		return tries, through
	})
}

// documentedRule is the matcher of what is private, as docs/security.md has it.
func documentedRule(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile("(?s)```caddyfile\n(@private .*?)\nsession_auth @private").FindSubmatch(page)
	if rule == nil {
		t.Fatal("docs/security.md has no rule for what is private")
	}
	return string(rule[1])
}

// oddPaths are paths that the one may read as public and the other as private.
func oddPaths() []string {
	paths := []string{
		"/private", "/private/x", "//private", "/public%2f..%2fprivate", "/public/%2e%2e/private", "/PUBLIC/../private",
		"//public/private", "///public/private", "//public:80/private", "//user@public/private", "/\\public/private", "/.//public/private",
		"/public;/../private", "/public;x=/private/..", "/private;/../public/x", "/private;x/../public", "/private/;/../public", "/private/..;/public/x",
		"/private/x/..;/..;/public", "/public.php/../private", "/public/index.php/../../private", "/index.php/public/../private", "/private/index.php/../../public/x",
		"/public/?/../private", "/public/%3f/../../private", "/private%3f/../public/x", "/private%23/../public/x", "/public%23/../private", "/public%00/../private",
		"/public/%00/../../private", "/private%00/../public/x", "/%2e/private", "/./private", "/public/..", "/public/.", "/public/../", "/public/./../private",
		"/private/./../public/x", "/public/..\\..\\private", "/public/%c0%ae%c0%ae/private", "/public/%e2%80%a5/private", "/public/..%c0%afprivate", "/public/..%ef%bc%8fprivate",
		"/public/%u002e%u002e/private", "/private//../public/x", "/private/%2f../public/x", "/private%2f../public/x", "/x/%2e%2e%2fpublic/%2e%2e/private",
		"/public/..%09/private", "/public/%09../private", "/public/..%20/private", "/public/..%0a/private", "/public/.%0a./private", "/public/..%3b/private", "/public/..%3bx/private",
		"*", "/private?/../public", "/public\\..\\private", "/public%5c..%5cprivate",
	}
	for _, dots := range []string{"..", "%2e%2e", ".%2e", "%2E.", "..;", "..;x", "%2e%2e;", "..%3b", "%252e%252e", "..%00", ".;."} {
		for _, slash := range []string{"/", "//", "%2f", "%5c", "\\", "%252f", "/./"} {
			paths = append(paths, "/public"+slash+dots+slash+"private", "/public/"+dots+slash+"private", "/private"+slash+dots+slash+"public/x", "/private/"+dots+slash+"public"+slash+"x")
		}
	}
	return paths
}

// attackPaths asks for what is private under the name of something public.
func attackPaths(t *testing.T, s *caddyServer, servers []*appServer) {
	sideBySide(t, "paths beside /public/*", servers, func(i int, server *appServer) (tries int, through []string) {
		arrived := 0
		for _, path := range append(oddPaths(), "/public", "/public/", "/public/x", "/public/a.b/c-d_e~f", "/public/%C3%A4%20%41") {
			tries++
			_, got, err := ask(t, s, "GET "+path+" HTTP/1.1\r\nHost: "+appHost("public", i)+"\r\n\r\n")
			if err != nil {
				through = append(through, fmt.Sprintf("%q: %v", path, err))
			}
			if got == nil {
				continue
			}
			arrived++
			if low := strings.ToLower(got.Path); low != "/public" && !strings.HasPrefix(low, "/public/") || strings.Contains(low, "private") && strings.Contains(path, "private") {
				through = append(through, fmt.Sprintf("%q: the app reads %q", path, got.Path))
			}
		}
		if arrived < 4 {
			through = append(through, fmt.Sprintf("only %d got to the app: what is public has to", arrived))
		}
		return tries, through
	})
}

// attackBodies hides a second request in bodies. The next request over the same
// connection is another client's, and has to get its own response.
func attackBodies(t *testing.T, s *caddyServer, servers []*appServer) {
	hidden := "GET /public/hidden HTTP/1.1\r\nHost: app.example\r\nX-User-Id: " + spoofedMark + "\r\n\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(hidden))
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	const coded = "Transfer-Encoding: chunked\r\n"
	var requests []string
	for _, method := range []string{"GET", "POST", "DELETE", "QUERY", "HEAD"} {
		for _, body := range []string{
			length + "\r\n" + hidden, coded + "\r\n" + chunked, "Expect: 100-continue\r\n" + length + "\r\n" + hidden,
			"Expect: 100-continue\r\n" + coded + "\r\n" + chunked, "Connection: Content-Length\r\n" + length + "\r\n" + hidden,
			"Connection: Transfer-Encoding\r\n" + coded + "\r\n" + chunked, "Connection: Expect, close\r\nExpect: 100-continue\r\n" + length + "\r\n" + hidden,
			"Content_Length: 0\r\nContent.Length: 0\r\nContent!Length: 0\r\n" + length + "\r\n" + hidden, coded + "TE: trailers\r\n\r\n" + chunked,
			coded + "Content-Length: 3\r\n\r\n" + chunked, length + coded + "\r\n" + chunked, "Transfer_Encoding: chunked\r\n" + length + "\r\n" + hidden,
		} {
			requests = append(requests, method+" /public/body HTTP/1.1\r\nHost: %s\r\n"+strings.ReplaceAll(body, "%", "%%"))
		}
	}
	sideBySide(t, "a request in a body", servers, func(i int, server *appServer) (tries int, through []string) {
		host := appHost("optional", i)
		bob := func() (*seen, error) {
			_, got, err := ask(t, s, "GET /public/bob HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			if err == nil && (got == nil || got.Path != "/public/bob" || got.Method != http.MethodGet || len(got.believes(false)) > 0) {
				err = fmt.Errorf("bob got %+v", got)
			}
			return got, err
		}
		before, err := bob()
		if err != nil {
			return 1, []string{err.Error()}
		}
		for _, request := range requests {
			tries++
			request := fmt.Sprintf(request, host)
			status, got, err := ask(t, s, request)
			if err != nil {
				through = append(through, fmt.Sprintf("%.40q: %v", request, err))
				continue
			}
			if got != nil && (got.Path != "/public/body" || got.Body != "" && got.Body != hidden || len(got.believes(false)) > 0) {
				through = append(through, fmt.Sprintf("%.200q: the app saw %+v", request, got))
			}
			after, err := bob()
			if err != nil {
				through = append(through, fmt.Sprintf("%.200q: then %v", request, err))
				after, err = bob()
			}
			if err != nil {
				continue
			}
			if after.Count > before.Count+2 {
				through = append(through, fmt.Sprintf("%.200q, status %d: the app had %d requests, not 2", request, status, after.Count-before.Count))
			}
			before = after
		}
		return tries, through
	})
}
