package returnurl

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func mustReturnURLs(tb testing.TB, defaultURL string, allowed ...string) *Policy {
	tb.Helper()
	u, err := New(defaultURL, allowed)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// outcome is what a table writes for the answer: the location, or why there is none.
func outcome(location string, err error) string {
	switch {
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case errors.Is(err, ErrForbidden):
		return "forbidden"
	case err != nil:
		return err.Error()
	}
	return location
}

// TestReturnURLContract holds the rows of Kratos' own behaviour. A name that ends
// in "(ours)" is an intended difference.
func TestReturnURLContract(t *testing.T) {
	for _, test := range []struct {
		name       string
		defaultURL string
		allowed    []string
		base       string
		raw        string
		want       string
	}{
		{"a path below the entry's", "", []string{"https://www.ory.sh/foo"}, "https://a.example", "https://www.ory.sh/foo/kratos", "https://www.ory.sh/foo/kratos"},
		{"a path stays on the host of the request, not on the default's (ours)", "https://www.ory.sh/x", []string{"https://www.ory.sh"}, "https://a.example", "/foo", "https://a.example/foo"},
		{"the fragment is kept", "/default", nil, "https://a.example", "/foo/kratos#abcd", "https://a.example/foo/kratos#abcd"},
		{"a foreign host with a relative default", "/default", nil, "https://a.example", "https://www.ory.sh/foo", "forbidden"},
		{"no scheme takes that of the request", "https://www.ory.sh/docs", []string{"https://www.ory.sh"}, "https://a.example", "//www.ory.sh/kratos", "https://www.ory.sh/kratos"},
		{"an empty host is filled by nobody (ours)", "https://www.ory.sh/", []string{"http://www.ory.sh", "https://www.ory.sh"}, "https://a.example", "http:///kratos", "malformed"},
		{"a wildcard of any depth", "", []string{"https://*.ory.sh/"}, "https://a.example", "https://even.deeper.nested.ory.sh/", "https://even.deeper.nested.ory.sh/"},
		{"a wildcard without the apex", "", []string{"https://*.ory.sh/"}, "https://a.example", "https://ory.sh/", "forbidden"},
		{"a wildcard on another port", "", []string{"https://*.ory.sh/"}, "https://a.example", "https://www.ory.sh:8443/", "forbidden"},
		{"another host", "", []string{"https://www.ory.sh"}, "https://a.example", "https://www.ory.com/", "forbidden"},
		{"another scheme", "", []string{"https://www.ory.sh"}, "https://a.example", "http://www.ory.sh/", "forbidden"},
		{"another path", "", []string{"https://www.ory.sh/foo"}, "https://a.example", "https://www.ory.sh/bar", "forbidden"},
		{"another port", "", []string{"https://www.ory.sh"}, "https://a.example", "https://www.ory.sh:444/", "forbidden"},
		{"the default port is none (ours)", "", []string{"https://www.ory.sh"}, "https://a.example", "https://www.ory.sh:443/", "https://www.ory.sh/"},
		{"whole segments only (ours)", "", []string{"https://h.example/foo"}, "https://a.example", "https://h.example/foobar", "forbidden"},
		{"dot segments are resolved first (ours)", "", []string{"https://h.example/foo"}, "https://a.example", "https://h.example/foo/../admin", "forbidden"},
		{"encoded dot segments too (ours)", "", []string{"https://h.example/foo"}, "https://a.example", "https://h.example/foo/%2e%2E/admin", "forbidden"},
		{"user info is refused (ours)", "", []string{"https://h.example"}, "https://a.example", "https://user@h.example/", "malformed"},
		{"the default is allowed (ours)", "https://h.example/bye?a=b", nil, "https://a.example", "https://h.example/bye?a=b", "https://h.example/bye?a=b"},
		{"the default is allowed exactly", "https://h.example/bye", nil, "https://a.example", "https://h.example/bye/x", "forbidden"},
		{"the own host is allowed (ours)", "", nil, "https://a.example:8443", "https://A.example:8443/x", "https://a.example:8443/x"},
		{"nothing means the default", "https://h.example", nil, "https://a.example", "", "https://h.example/"},
		{"unparsable", "", nil, "https://a.example", "https://h.example:port/", "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := mustReturnURLs(t, test.defaultURL, test.allowed...)
			if got := outcome(u.Check(test.raw, test.base)); got != test.want {
				t.Errorf("check(%q) = %s, want %s", test.raw, got, test.want)
			}
		})
	}
}

// TestReturnURLRules holds what the contract's table does not reach.
func TestReturnURLRules(t *testing.T) {
	allowed := []string{
		"https://h.example/foo/", "https://münchen.example", "http://192.0.2.1:8080",
		"https://[2001:DB8::1]/", "https://*.sub.h.example:8443/x", "HTTPS://Upper.Example:443/Case",
	}
	for _, test := range []struct{ name, raw, want string }{
		{"the entry's slash does not matter", "https://h.example/foo", "https://h.example/foo"},
		{"nor the candidate's", "https://h.example/foo/", "https://h.example/foo/"},
		{"a query ends the segment", "https://h.example/foo?x", "https://h.example/foo?x"},
		{"dots within the entry", "https://h.example/foo/a/../b/./c", "https://h.example/foo/b/c"},
		{"an encoded slash below an entry's path", "https://h.example/foo/a%2Fb", "forbidden"},
		{"an encoded backslash below an entry's path", "https://h.example/foo/a%5cb", "forbidden"},
		{"an encoded NUL below an entry's path", "https://h.example/foo/%00", "forbidden"},
		{"encoded dots with a parameter", "https://h.example/foo/%2e%2e%3bx/admin", "forbidden"},
		{"a parameter is no dot segment", "https://h.example/foo/a;b=..", "https://h.example/foo/a;b=.."},
		{"an encoded slash in the query", "https://h.example/foo?u=%2F%5c", "https://h.example/foo?u=%2F%5c"},
		{"an encoded slash on the own host", "/a%2Fb", "https://a.example/a%2Fb"},
		{"Unicode host", "https://MÜNCHEN.example/", "https://xn--mnchen-3ya.example/"},
		{"Punycode host", "https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/"},
		{"full-width host is written anew", "https://ｍünchen。example/", "https://xn--mnchen-3ya.example/"},
		{"IPv4 as a number is written anew", "http://0xc0000201:8080/", "http://192.0.2.1:8080/"},
		{"IPv4 in full-width digits", "http://１９２.0.2.1:8080/", "malformed"},
		{"IPv6", "https://[2001:0db8:0::1]/", "https://[2001:db8::1]/"},
		{"IPv6 with a zone", "https://[2001:db8::1%25eth0]/", "malformed"},
		{"wildcard with port and path", "https://a.sub.h.example:8443/x/y", "https://a.sub.h.example:8443/x/y"},
		{"wildcard with another path", "https://a.sub.h.example:8443/y", "forbidden"},
		{"wildcard and an empty label", "https://.sub.h.example:8443/x", "malformed"},
		{"wildcard and two dots", "https://a..sub.h.example:8443/x", "malformed"},
		{"hosts in any case", "https://upper.EXAMPLE/Case", "https://upper.example/Case"},
		{"paths in their case", "https://upper.example/case", "forbidden"},
		{"spaces inside are encoded", "/a b?c d#e f", "https://a.example/a%20b?c%20d#e%20f"},
		{"Unicode in the path is encoded", "/ü", "https://a.example/%C3%BC"},
		{"a fragment only", "#top", "https://a.example/#top"},
		{"dots above the root", "/../../x", "https://a.example/x"},
		{"a colon behind a slash is no scheme", "/javascript:alert(1)", "https://a.example/javascript:alert(1)"},
		{"empty user info", "https://@h.example/foo", "malformed"},
		{"empty user info and password", "https://:@h.example/foo", "malformed"},
		{"a host in percent-encoding", "https://h%2Eexample/foo", "malformed"},
		{"a letter of a host in percent-encoding", "https://%68.example/foo", "malformed"},
		{"a bare percent sign", "/100%", "malformed"},
		{"a bare percent sign in the query", "/?100%", "https://a.example/?100%"},
		{"leading space", " /x", "malformed"},
		{"trailing no-break space", "/x\u00a0", "malformed"},
		{"C1 control", "/x\u0085y", "malformed"},
		{"invalid UTF-8", "/\xff", "malformed"},
		{"2048 bytes once absolute", "/" + strings.Repeat("a", 2048-len("https://a.example/")), "https://a.example/" + strings.Repeat("a", 2048-len("https://a.example/"))},
		{"2049 bytes once absolute", "/" + strings.Repeat("a", 2049-len("https://a.example/")), "malformed"},
		{"too long once encoded", "/" + strings.Repeat("ü", 400), "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := mustReturnURLs(t, "", allowed...)
			if got := outcome(u.Check(test.raw, "https://a.example")); got != test.want {
				t.Errorf("check(%q) = %s, want %s", test.raw, got, test.want)
			}
		})
	}
}

func TestReturnURLWithoutReadableBase(t *testing.T) {
	u := mustReturnURLs(t, "/goodbye", "https://h.example")
	for _, base := range []string{"", "http://", "http://a@b", "http://a b", `http://a\b`, "http://[::1", "file:///", "http://a..b"} {
		for raw, want := range map[string]string{
			"":                    "/goodbye",
			"/x":                  "malformed",
			"//h.example":         "malformed",
			"https://h.example/x": "https://h.example/x",
			"http://a/":           "forbidden",
		} {
			if got := outcome(u.Check(raw, base)); got != want {
				t.Errorf("check(%q, %q) = %s, want %s", raw, base, got, want)
			}
		}
	}
}

func TestDefaultReturnURL(t *testing.T) {
	for _, test := range []struct{ defaultURL, want string }{
		{"", "https://a.example/"},
		{"/", "https://a.example/"},
		{"/a/../bye?x#y", "https://a.example/bye?x#y"},
		{"HTTPS://h.example:443", "https://h.example/"},
	} {
		if got := outcome(mustReturnURLs(t, test.defaultURL).Check("", "https://a.example")); got != test.want {
			t.Errorf("default %q: %s, want %s", test.defaultURL, got, test.want)
		}
	}
	for _, bad := range []string{
		"goodbye", "?x", "#x", "//h.example/", "///h.example", `/\h.example`, "/..//h.example", "mailto:a@b.example",
		"javascript:alert(1)", "https:h.example", "https://", "https://u@h.example", "/\t", "/100%",
	} {
		_, err := New(bad, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "default return URL ") {
			t.Errorf("default %q: error %v", bad, err)
		}
	}
}

func TestAllowedReturnURLErrorNamesTheEntry(t *testing.T) {
	_, err := New("", []string{"https://a.example", "https://*.com"})
	if err == nil || !strings.Contains(err.Error(), `2, "https://*.com"`) {
		t.Errorf("error %v does not name the second entry", err)
	}
}

// documentedRows reads the rows of the table under a heading of the page.
func documentedRows(t *testing.T, header string) [][2]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/return-urls.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n"+header+"\n|---|---|\n")
	if !found {
		t.Fatalf("no table %q", header)
	}
	var rows [][2]string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 2 {
			break
		}
		rows = append(rows, [2]string{strings.Trim(cells[0], "| `"), strings.Trim(cells[1], "| `")})
	}
	return rows
}

func TestDocumentedReturnURLs(t *testing.T) {
	u := mustReturnURLs(t, "/goodbye", "https://docs.example.com/manual", "https://*.example.org", "http://localhost:3000")
	rows := documentedRows(t, "| `return_to` | answer |")
	if len(rows) < 30 {
		t.Fatalf("read %d rows only", len(rows))
	}
	for _, row := range rows {
		raw := strings.TrimPrefix(row[0], "*(none)*")
		if got := outcome(u.Check(raw, "https://app.example.com")); got != row[1] {
			t.Errorf("%s: %s, documented %s", row[0], got, row[1])
		}
	}
}

func TestDocumentedEntries(t *testing.T) {
	for _, row := range documentedRows(t, "| entry | allows |") {
		mustReturnURLs(t, "", row[0])
	}
	rows := documentedRows(t, "| entry | error |")
	if len(rows) < 15 {
		t.Fatalf("read %d rows only", len(rows))
	}
	for _, row := range rows {
		_, err := New("", []string{row[0]})
		if err == nil || !strings.Contains(err.Error(), row[1]) {
			t.Errorf("%s: error %v, documented %q", row[0], err, row[1])
		}
	}
}
