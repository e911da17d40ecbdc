package httpx

import (
	"net/http"
	"strings"
	"testing"
)

const firefoxAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

// TestWantsJSON holds every row of Kratos' table. A name that ends in "(ours)" is
// an intended difference.
func TestWantsJSON(t *testing.T) {
	for _, test := range []struct {
		name   string
		accept []string
		want   bool
	}{
		{"absent", nil, false},
		{"empty", []string{""}, false},
		{"anything", []string{"*/*"}, false},
		{"JSON", []string{"application/json"}, true},
		{"axios", []string{"application/json, text/plain, */*"}, true},
		{"anything, then JSON", []string{"*/*, application/json"}, true},
		{"JSON, and anything for less", []string{"application/json, */*;q=0.8"}, true},
		{"Firefox", []string{firefoxAccept}, false},
		{"Chrome", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"}, false},
		{"Internet Explorer 8", []string{"image/jpeg, application/x-ms-application, image/gif, application/xaml+xml, image/pjpeg, application/x-ms-xbap, application/x-shockwave-flash, application/msword, */*"}, false},
		{"Edge", []string{"text/html, application/xhtml+xml, image/jxr, */*"}, false},
		{"JSON with a weight", []string{"application/json ; q=1.0"}, true},
		{"JSON with a charset (ours)", []string{"application/json; charset=utf-8"}, true},
		{"HTML of a level, and JSON", []string{"text/html;level=1, application/json"}, false},
		{"XML, and JSON for less", []string{"application/xml, application/json;q=0.9"}, true},
		{"JSON and HTML", []string{"application/json, text/html"}, false},
		{"HTML and JSON", []string{"text/html, application/json"}, false},
		{"JSON before HTML", []string{"application/json;q=0.9, text/html;q=0.8"}, true},
		{"HTML before JSON", []string{"application/json;q=0.8, text/html"}, false},
		{"anything before JSON", []string{"application/json;q=0.5, */*"}, false},
		{"any application", []string{"application/*"}, true},
		{"any application or text", []string{"application/*, text/*"}, false},
		{"any text, and JSON", []string{"text/*, application/json"}, true},
		{"problem details (ours)", []string{"application/problem+json"}, true},
		{"JSON:API (ours)", []string{"application/vnd.api+json"}, true},
		{"upper case (ours)", []string{"Application/JSON"}, true},
		{"JSON refused", []string{"application/json;q=0"}, false},
		{"an image", []string{"image/png"}, false},

		{"two lines", []string{"text/html;q=0.1", "application/json"}, true},
		{"the weight of the closest range", []string{"application/json;q=0.1, application/*, text/html;q=0.5"}, false},
		{"JSON refused, anything else taken", []string{"application/json;q=0, */*"}, false},
		{"HTML refused, anything else taken", []string{"text/html;q=0, */*"}, true},
		{"both refused", []string{"text/html;q=0, application/json;q=0"}, false},
		{"problem details and HTML", []string{"application/problem+json, text/html"}, false},
		{"weight in upper case", []string{"application/json;Q=0.1, text/html;Q=0.2"}, false},
		{"a comma in a quoted string", []string{`text/html;x="a,application/json;q=1", application/json;q=0.5`}, false},
		{"an escaped quote in a quoted string", []string{`image/png;x="\",application/json"`}, false},
		{"a parameter before the weight", []string{"application/json;charset=utf-8;q=0.4, text/html;q=0.5"}, false},
		{"a malformed weight drops the element", []string{"application/json;q=2, text/html;q=0.1"}, false},
		{"a weight of four digits drops the element", []string{"text/html;q=0.9999, application/json;q=0.1"}, true},
		{"a negative weight drops the element", []string{"text/html;q=-1, application/json;q=0.1"}, true},
		{"a weight above one drops the element", []string{"text/html;q=1.001, application/json;q=0.1"}, true},
		{"malformed elements are dropped", []string{",;,/,json,*/json,application/,a/b/c,application/json"}, true},
		{"malformed elements only", []string{"json, */json, application /json"}, false},
		{"8 KiB", []string{"application/json" + strings.Repeat(" ", 8<<10-16)}, true},
		{"more than 8 KiB", []string{"application/json" + strings.Repeat(" ", 8<<10-15)}, false},
		{"more than 8 KiB over two lines", []string{"application/json", strings.Repeat(",", 8<<10)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
			if test.accept != nil {
				r.Header["Accept"] = test.accept
			}
			if got := WantsJSON(r); got != test.want {
				t.Errorf("wantsJSON(%q) = %t", test.accept, got)
			}
		})
	}
}

func TestWantsJSONByOtherHeaders(t *testing.T) {
	for _, test := range []struct {
		name                      string
		accept, contentType, mode string
		want                      bool
	}{
		{"a body of JSON", "", "application/json", "", true},
		{"a body of JSON with a charset (ours)", firefoxAccept, "Application/JSON ; charset=utf-8", "navigate", true},
		{"a body of a form", "", "application/x-www-form-urlencoded", "", false},
		{"a body of nearly JSON", "", "application/jsonp", "", false},
		{"a fetch", "*/*", "", "cors", true},
		{"a fetch of the same origin", "*/*", "", "same-origin", true},
		{"a fetch without Accept", "", "", "no-cors", true},
		{"a fetch with anything twice", "*/*, */*;q=0.1", "", "cors", true},
		{"a fetch for HTML", "text/html", "", "cors", false},
		{"an image", "image/avif,image/webp,*/*;q=0.8", "", "no-cors", false},
		{"a navigation", firefoxAccept, "", "navigate", false},
		{"a navigation without Accept", "", "", "navigate", false},
		{"a navigation to anything", "*/*", "", "navigate", false},
		{"curl", "*/*", "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
			for name, value := range map[string]string{"Accept": test.accept, "Content-Type": test.contentType, "Sec-Fetch-Mode": test.mode} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if got := WantsJSON(r); got != test.want {
				t.Errorf("wantsJSON = %t", got)
			}
		})
	}
}

func TestWantsJSONAllocatesNothing(t *testing.T) {
	r := &http.Request{Header: http.Header{"Accept": {firefoxAccept}, "Sec-Fetch-Mode": {"navigate"}}}
	if n := testing.AllocsPerRun(100, func() { WantsJSON(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAccept checks that further lines that say nothing of our types change nothing,
// and that a client that prefers HTML never gets JSON.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{
		"", "*/*", "application/json", firefoxAccept, "application/json;q=0.5, */*", `a/b;x="\",";q=1`,
		"text/*;q=0.333,application/*+json", ";;,,q=,/", "application/problem+json;Q=0.001", `"`,
	} {
		f.Add(seed)
	}
	ask := func(lines ...string) bool { return WantsJSON(&http.Request{Header: http.Header{"Accept": lines}}) }
	f.Fuzz(func(t *testing.T, accept string) {
		if len(accept) > maxAccept-64 {
			return
		}
		got := ask(accept)
		if again := ask("image/png", accept, ""); got != again {
			t.Errorf("%q: %t, with more lines %t", accept, got, again)
		}
		if ask("text/html", accept) {
			t.Errorf("%q: JSON although text/html is wanted as much as anything", accept)
		}
	})
}
