package caddylogout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

// legacyApp is a server with sessions of its own: it knows nothing of us but the
// header that names the person.
type legacyApp struct {
	*httptest.Server
	mu       sync.Mutex
	sessions map[string]bool
	seen     []string // the Cookie headers of requests
	entered  chan struct{}
	release  chan struct{}
}

func startLegacyApp(t *testing.T) *legacyApp {
	app := &legacyApp{sessions: make(map[string]bool), entered: make(chan struct{}, 1), release: make(chan struct{})}
	app.Server = httptest.NewServer(http.HandlerFunc(app.serve))
	t.Cleanup(app.Close)
	return app
}

func (app *legacyApp) serve(w http.ResponseWriter, r *http.Request) {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.seen = append(app.seen, r.Header.Get("Cookie"))
	sid := ""
	if cookie, err := r.Cookie("sid"); err == nil {
		sid = cookie.Value
	}
	switch r.URL.Path {
	case "/login":
		sid = fmt.Sprint("s", len(app.seen))
		app.sessions[sid] = true
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid, Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: "sid_0", Value: "chunk", Path: "/"})
		w.Header().Set("X-Sign-In", `{"identity":"alice"}`)
	case "/logout":
		delete(app.sessions, sid)
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "new-and-anonymous", Path: "/"})
		http.Redirect(w, r, "/front", http.StatusFound)
	case "/slow":
		app.mu.Unlock()
		app.entered <- struct{}{}
		select {
		case <-app.release:
		case <-r.Context().Done():
		}
		app.mu.Lock()
		w.Header().Add("Set-Cookie", r.URL.Query().Get("cookie"))
		_, _ = io.WriteString(w, "late")
	case "/hung":
		app.mu.Unlock()
		<-r.Context().Done()
		app.mu.Lock()
	case "/events":
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		app.mu.Unlock()
		<-app.release
		app.mu.Lock()
	case "/hints":
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Set-Cookie", web.DefaultCookieName+"=evil")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	case "/socket":
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: " + web.DefaultCookieName + "=evil\r\n\r\n")
		_ = buffered.Flush()
		_, _ = io.CopyN(conn, buffered, 4)
	default:
		_, _ = io.WriteString(w, "app session: "+fmt.Sprint(app.sessions[sid]))
	}
}

// legacySite is a Caddy in front of a legacyApp, and a browser that stands
// before it.
type legacySite struct {
	t       *testing.T
	app     *legacyApp
	base    string
	browser *http.Client
}

// startLegacySite starts Caddy with the directive logout, and options of the gate.
func startLegacySite(t *testing.T, logout string, gate ...string) *legacySite {
	t.Helper()
	app := startLegacyApp(t)
	base := "http://127.0.0.1:" + freeTCPPort(t)
	dir := t.TempDir()
	config := adaptLogin(t, `{
	admin off
	persist_config off
	log {
		output file `+filepath.Join(dir, "log")+`
	}
	sessions {
		store embedded `+filepath.Join(dir, "sessions.db")+`
	}
}
`+base+` {
	bind 127.0.0.1
	`+logout+`
	session_auth /login {
		optional
		issue_on_header X-Sign-In
	}
	@others not path /login
	session_auth @others {
		`+strings.Join(gate, "\n")+`
	}
	reverse_proxy `+app.Listener.Addr().String()+`
}
`)
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &legacySite{t: t, app: app, base: base, browser: &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// get sends the request of a browser that follows a link on a page of the app.
func (s *legacySite) get(path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	res, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

// cookies are what the browser holds.
func (s *legacySite) cookies() map[string]string {
	u, _ := url.Parse(s.base)
	held := make(map[string]string)
	for _, cookie := range s.browser.Jar.Cookies(u) {
		held[cookie.Name] = cookie.Value
	}
	return held
}

// replay sends cookies that a client has kept, and reports whether the app accepts
// them.
func (s *legacySite) replay(kept map[string]string) bool {
	s.t.Helper()
	jar := s.browser.Jar
	defer func() { s.browser.Jar = jar }()
	s.browser.Jar = nil
	pairs := make([]string, 0, len(kept))
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		pairs = append(pairs, name+"="+kept[name])
	}
	res, body := s.get("/", "Cookie: "+strings.Join(pairs, "; "))
	return res.StatusCode == http.StatusOK && strings.HasPrefix(body, "app session")
}

func (s *legacySite) signIn() map[string]string {
	s.t.Helper()
	if res, _ := s.get("/login"); res.StatusCode != http.StatusOK {
		s.t.Fatalf("sign-in: status %d", res.StatusCode)
	}
	kept := s.cookies()
	if _, body := s.get("/"); body != "app session: true" || kept[web.DefaultCookieName] == "" || kept["sid"] == "" {
		s.t.Fatalf("not signed in: %q, cookies %q", body, kept)
	}
	return kept
}

func TestCaddyAppLogout(t *testing.T) {
	t.Run("off: our session and the app's cookies survive", func(t *testing.T) {
		s := startLegacySite(t, "logout")
		kept := s.signIn()
		s.get("/logout")
		if !s.replay(kept) || s.cookies()["sid"] == "" || s.cookies()["sid_0"] == "" {
			t.Error("nothing survives, so the tests below show nothing")
		}
	})
	for name, options := range map[string]string{
		"by path":              "logout /logout {\n\tstrip_cookies sid\n}",
		"by path, answer kept": "logout /logout {\n\tkeep_response\n\tstrip_cookies sid*\n}",
		"by response":          "logout {\n\tlogout_on {\n\t\tstatus 3xx\n\t\tlocation /front\n\t}\n\tstrip_cookies sid\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := startLegacySite(t, options)
			kept := s.signIn()
			res, _ := s.get("/logout")
			wantStatus, wantLocation := http.StatusFound, "/front"
			if name == "by path" {
				wantStatus, wantLocation = http.StatusSeeOther, s.base+"/"
			}
			if res.StatusCode != wantStatus || res.Header.Get("Location") != wantLocation {
				t.Errorf("got %d to %q", res.StatusCode, res.Header.Get("Location"))
			}
			if s.replay(kept) {
				t.Error("our session survives")
			}
			s.app.mu.Lock()
			left, seen := len(s.app.sessions), strings.Join(s.app.seen, "\n")
			s.app.mu.Unlock()
			if left != 0 {
				t.Error("the app's session survives")
			}
			if held := s.cookies(); len(held) != 0 {
				t.Errorf("the browser holds %q", held)
			}
			if strings.Contains(seen, web.DefaultCookieName) {
				t.Errorf("the app got our cookie: %s", seen)
			}
			// The second click finds nothing to end, and is not an error.
			if res, _ := s.get("/logout"); res.StatusCode >= 400 && name != "by response" {
				t.Errorf("the second time: %d", res.StatusCode)
			}
		})
	}
	t.Run("an image elsewhere", func(t *testing.T) {
		s := startLegacySite(t, "logout /logout")
		kept := s.signIn()
		res, _ := s.get("/logout", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors")
		if res.StatusCode != http.StatusForbidden || !s.replay(kept) || len(s.app.sessions) != 1 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
	t.Run("an app that hangs", func(t *testing.T) {
		s := startLegacySite(t, "logout /hung {\n\tapp_timeout 100ms\n}")
		kept := s.signIn()
		if res, _ := s.get("/hung"); res.StatusCode != http.StatusSeeOther || s.replay(kept) {
			t.Errorf("got %d", res.StatusCode)
		}
	})
	t.Run("beside the self-service endpoints", func(t *testing.T) {
		s := startLegacySite(t, "logout /logout /self-service/logout")
		s.signIn()
		if res, body := s.get("/self-service/logout/browser", "Accept: application/json"); res.StatusCode != http.StatusOK || !strings.Contains(body, "logout_token") {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
}

// A response that was in flight during the logout sets the session cookie: it
// does not come back, and would be worth nothing.
func TestCaddyResponseInFlight(t *testing.T) {
	for streams, status := range map[string]int{"keep": http.StatusOK, "close": http.StatusUnauthorized} {
		t.Run("streams "+streams, func(t *testing.T) {
			s := startLegacySite(t, "logout /logout {\n\tstrip_cookies sid sid_0\n}", "streams "+streams)
			kept := s.signIn()
			again := web.DefaultCookieName + "=" + kept[web.DefaultCookieName] + "; Path=/"
			late := make(chan *http.Response, 1)
			go func() {
				defer close(late)
				res, _ := s.get("/slow?cookie=" + url.QueryEscape(again))
				late <- res
			}()
			<-s.app.entered
			s.get("/logout")
			if status == http.StatusOK { // or else the app learns that the client has gone
				close(s.app.release)
			}
			res := <-late
			if res == nil || res.StatusCode != status {
				t.Fatalf("the answer in flight: %v", res)
			}
			if lines := res.Header.Values("Set-Cookie"); len(lines) != 0 {
				t.Errorf("it sets %q", lines)
			}
			if held := s.cookies(); len(held) != 0 {
				t.Errorf("the browser holds %q", held)
			}
			if s.replay(kept) {
				t.Error("the session survives")
			}
		})
	}
}

// The watching writer lets a flush, an informational response and an upgrade through,
// without our cookies.
func TestCaddyWatchedResponses(t *testing.T) {
	s := startLegacySite(t, "logout {\n\tlogout_on {\n\t\theader X-Logged-Out\n\t}\n}")
	kept := s.signIn()
	t.Run("events", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "data: one\n" {
			t.Errorf("got %q, %v while the app is still writing", line, err)
		}
		close(s.app.release)
	})
	t.Run("early hints", func(t *testing.T) {
		var hints []textproto.MIMEHeader
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, h)
			return nil
		}})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/hints", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if len(hints) != 1 || hints[0].Get("Link") == "" || hints[0].Get("Set-Cookie") != "" || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("hints %q, then %q", hints, res.Header)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s=%s\r\n\r\n", strings.TrimPrefix(s.base, "http://"), web.DefaultCookieName, kept[web.DefaultCookieName])
		reader := bufio.NewReader(conn)
		res, err := http.ReadResponse(reader, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Set-Cookie") != "" {
			t.Fatalf("got %v, %v", res, err)
		}
		echo := make([]byte, 4)
		if _, err := io.WriteString(conn, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(reader, echo); err != nil || string(echo) != "ping" {
			t.Errorf("got %q, %v", echo, err)
		}
	})
}
