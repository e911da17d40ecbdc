package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// hostile is what must never come out as markup.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>'javascript:{{.}}`

// ours are the built-in pages.
var ours = func() *Set {
	s, err := New(Options{})
	if err != nil {
		panic(err)
	}
	return s
}()

// rendered are all pages, with everything on them that there can be.
var rendered = map[string]func(http.ResponseWriter, *http.Request) error{
	"fresh sign-in": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Login(w, r, http.StatusOK, LoginData{Action: "https://app.example.com/self-service/login?flow=1&return_to=%2Fa", CSRFToken: "t+/="})
	},
	"refused sign-in": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Login(w, r, http.StatusBadRequest, LoginData{
			Action: "/self-service/login?x=" + hostile, CSRFToken: hostile, Site: hostile, Identifier: hostile,
			Message: hostile, IdentifierHint: hostile, PasswordHint: hostile,
		})
	},
	"error": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Error(w, r, http.StatusForbidden, ErrorData{ID: hostile, Text: hostile, Home: "javascript:alert(1)"})
	},
	"error with a title": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Error(w, r, http.StatusInternalServerError, ErrorData{Title: hostile, Text: hostile})
	},
	"confirm": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Confirm(w, r, ConfirmData{Action: "/logout?x=" + hostile, Token: hostile, Method: hostile, Home: "javascript:alert(1)"})
	},
	"pending": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Pending(w, r, PendingData{Home: "javascript:alert(1)//" + hostile})
	},
	"signed out": func(w http.ResponseWriter, r *http.Request) error {
		return ours.SignedOut(w, r, SignedOutData{Home: "javascript:alert(1)//" + hostile, Done: "/self-service/logout/done?" + hostile})
	},
	"sessions": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Sessions(w, r, SessionsData{
			Action: "/account/sessions", CSRFToken: hostile, Identity: hostile, Others: true, More: 3,
			Sessions: []SessionRow{
				{ID: hostile, Browser: hostile, Address: hostile, SignedIn: hostile, Timestamp: hostile, LastUsed: hostile, Current: true},
				{ID: "2", Browser: "curl", SignedIn: "just now", Timestamp: "2026-01-02T03:04:05Z"},
			},
		})
	},
	"unauthorized": func(w http.ResponseWriter, r *http.Request) error {
		return ours.Unauthorized(w, r, UnauthorizedData{LoginURL: "javascript:alert(1)//" + hostile})
	},
}

// get asks a real server for a page.
func get(t *testing.T, method string, page func(http.ResponseWriter, *http.Request) error) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := page(w, r); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// elements lists the elements of a page in order.
func elements(t *testing.T, body string) []*html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var out []*html.Node
	for node := range root.Descendants() {
		if node.Type == html.ElementNode {
			out = append(out, node)
		}
	}
	return out
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// TestPagesAreSafe checks what hostile data and other sites could make of each
// page: the data stays text, and the page neither runs nor loads anything.
func TestPagesAreSafe(t *testing.T) {
	allowed := map[string]bool{
		"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "main": true, "h1": true,
		"p": true, "a": true, "code": true, "form": true, "label": true, "input": true, "button": true,
		"ul": true, "li": true, "time": true, "div": true, "span": true, "img": true,
		"svg": true, "path": true, "rect": true, "circle": true,
	}
	for name, page := range rendered {
		t.Run(name, func(t *testing.T) {
			res, body := get(t, http.MethodGet, page)
			seen := make(map[string]int)
			var style string
			for _, n := range elements(t, body) {
				seen[n.Data]++
				if !allowed[n.Data] {
					t.Errorf("there is a <%s>", n.Data)
				}
				for _, a := range n.Attr {
					if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" && n.Data != "img" {
						t.Errorf("<%s> has %s", n.Data, a.Key)
					}
					if (a.Key == "href" || a.Key == "action") && strings.HasPrefix(a.Val, "javascript:") {
						t.Errorf("<%s> runs %s", n.Data, a.Val)
					}
				}
				if n.Data == "style" {
					style = n.FirstChild.Data
				}
			}
			for _, once := range []string{"title", "style", "main", "h1"} {
				if seen[once] != 1 {
					t.Errorf("there are %d <%s>, want 1", seen[once], once)
				}
			}
			sum := sha256.Sum256([]byte(style))
			csp := res.Header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
				t.Error("the policy does not allow the style sheet that is on the page")
			}
			if got := strings.Contains(csp, "img-src 'self'"); got != (seen["img"] > 0) {
				t.Errorf("pictures are allowed: %v, there are %d", got, seen["img"])
			}
			if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
				t.Error("the style sheet loads something")
			}
			for header, want := range map[string]string{
				"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
				"Cache-Control": "private, no-cache, no-store, must-revalidate",
			} {
				if got := res.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
				if !strings.Contains(csp, directive) {
					t.Errorf("the policy lacks %s", directive)
				}
			}
			form := seen["form"] > 0
			if got := strings.Contains(csp, "form-action"); got == form {
				t.Errorf("form-action is in the policy: %v, there is a form: %v", got, form)
			}
			if want := map[bool]string{true: "same-origin", false: "no-referrer"}[form]; res.Header.Get("Referrer-Policy") != want {
				t.Errorf("Referrer-Policy is %q, want %q", res.Header.Get("Referrer-Policy"), want)
			}
		})
	}
}

func TestLoginForm(t *testing.T) {
	_, body := get(t, http.MethodGet, rendered["fresh sign-in"])
	fields := make(map[string]*html.Node)
	for _, n := range elements(t, body) {
		switch n.Data {
		case "form":
			if attribute(n, "method") != "post" || attribute(n, "action") != "https://app.example.com/self-service/login?flow=1&return_to=%2Fa" {
				t.Errorf("the form goes to %s %s", attribute(n, "method"), attribute(n, "action"))
			}
		case "input", "button":
			fields[attribute(n, "name")] = n
		case "meta":
			if attribute(n, "name") == "viewport" && !strings.Contains(attribute(n, "content"), "width=device-width") {
				t.Error("the page does not fit a phone")
			}
		}
	}
	for name, want := range map[string]map[string]string{
		"identifier": {"type": "text", "autocomplete": "username", "value": ""},
		"password":   {"type": "password", "autocomplete": "current-password", "value": ""},
		"csrf_token": {"type": "hidden", "value": "t+/="},
		"method":     {"type": "submit", "value": "password"},
	} {
		if fields[name] == nil {
			t.Errorf("there is no field %s", name)
			continue
		}
		for key, value := range want {
			if got := attribute(fields[name], key); got != value {
				t.Errorf("%s: %s is %q, want %q", name, key, got, value)
			}
		}
	}
	if strings.Contains(body, "role=\"alert\"") {
		t.Error("a fresh form tells of an error")
	}
	_, body = get(t, http.MethodGet, rendered["refused sign-in"])
	_, body, _ = strings.Cut(body, "</style>")
	if strings.Count(body, `role="alert"`) != 1 || strings.Count(body, `aria-invalid="true"`) != 2 {
		t.Error("a refused form does not tell of its errors")
	}
}

func TestHead(t *testing.T) {
	for name, page := range rendered {
		t.Run(name, func(t *testing.T) {
			// A recorder, since the server drops the body of a HEAD itself.
			recorder := httptest.NewRecorder()
			if err := page(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil)); err != nil {
				t.Fatal(err)
			}
			if recorder.Body.Len() != 0 {
				t.Error("there is a body")
			}
			res, body := get(t, http.MethodGet, page)
			if recorder.Code != res.StatusCode || recorder.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Error("HEAD is not answered as GET is")
			}
		})
	}
}

func TestTitles(t *testing.T) {
	for status, want := range map[int]string{
		400: "This link or form is not valid", 401: "You are not signed in", 403: "The request was refused", 404: "Page not found",
		410: "This page has expired", 429: "Too many attempts", 500: "Something went wrong", 503: "Temporarily unavailable",
	} {
		_, body := get(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) error {
			return ours.Error(w, r, status, ErrorData{Text: "It rains."})
		})
		if !strings.Contains(body, "<h1>"+want+"</h1>") || !strings.Contains(body, "<p>It rains.</p>") {
			t.Errorf("the page of %d is not headed %q", status, want)
		}
	}
}

// TestContrast checks the colours against WCAG 2.2: 4.5 to 1 for text (1.4.3),
// 3 to 1 for the edge of a field and for the focus (1.4.11).
func TestContrast(t *testing.T) {
	css, err := files.ReadFile("html/page.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, ok := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("there are no colours for the dark")
	}
	variable := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
	for name, sheet := range map[string]string{"light": light, "dark": dark} {
		colours := make(map[string]string)
		for _, match := range variable.FindAllStringSubmatch(sheet, -1) {
			colours[match[1]] = match[2]
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5},
			{"text", "ground", 4.5},
			{"muted", "card", 4.5},
			{"on-accent", "accent", 4.5},
			{"alert", "alert-ground", 4.5},
			{"alert", "card", 4.5},
			{"field", "card", 3},
			{"accent", "card", 4.5},
			{"accent", "accent-ground", 4.5},
			{"good", "good-ground", 4.5},
			{"wait", "wait-ground", 3},
		} {
			if got := contrast(t, colours[pair.front], colours[pair.back]); got < pair.least {
				t.Errorf("%s: %s on %s is %.2f to 1, want %.1f", name, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	if len(colour) != 7 {
		t.Fatalf("%q is no colour", colour)
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
