package integration_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// visitor is a person with a browser that keeps cookies and follows redirects.
type visitor struct {
	t      *testing.T
	client *http.Client
	base   string
}

// do sends what a browser would and returns where it ended up, and the page.
func (v visitor) do(method, address string, form url.Values, header ...string) (*url.URL, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.base)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.Request.URL, string(page)
}

// find returns what the first group of the pattern matches, as a browser reads it.
func (v visitor) find(page, pattern string) string {
	v.t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if match == nil {
		v.t.Fatalf("no %s in\n%s", pattern, page)
	}
	return html.UnescapeString(match[1])
}

func TestDemo(t *testing.T) {
	t.Parallel()
	s := startQuickstart(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor{t, &http.Client{Jar: jar}, "http://localhost:" + s.port}

	at, page := v.do(http.MethodGet, v.base+"/", nil)
	if at.Path != "/self-service/login" {
		t.Fatalf("a visitor is at %s", at)
	}
	action, err := at.Parse(v.find(page, `<form[^>]* action="([^"]+)"`))
	if err != nil {
		t.Fatal(err)
	}
	at, page = v.do(http.MethodPost, action.String(), url.Values{
		"method": {"password"}, "identifier": {"demo"}, "password": {"demo-password"},
		"csrf_token": {v.find(page, `name="csrf_token" value="([^"]+)"`)},
	})
	if at.String() != v.base+"/" || v.find(page, `id="user">([^<]+)<`) != "demo" {
		t.Fatalf("after signing in at %s:\n%s", at, page)
	}
	var old []string
	for _, cookie := range jar.Cookies(at) {
		old = append(old, cookie.Name+"="+cookie.Value)
	}

	at, page = v.do(http.MethodGet, v.find(page, `id="sign-out" href="([^"]+)"`), nil)
	if at.Path != "/self-service/logout/done" || !strings.Contains(page, "You are signed out") {
		t.Fatalf("after signing out at %s:\n%s", at, page)
	}
	if at, _ = v.do(http.MethodGet, v.base+"/", nil); at.Path != "/self-service/login" {
		t.Errorf("back at the app: %s", at)
	}
	v.client.Jar, err = cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if at, page = v.do(http.MethodGet, v.base+"/", nil, "Cookie: "+strings.Join(old, "; ")); at.Path != "/self-service/login" {
		t.Errorf("the old cookie still opens %s:\n%s", at, page)
	}
}
