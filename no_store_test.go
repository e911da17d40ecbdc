package caddylogout

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func TestNoStore(t *testing.T) {
	on := true
	tests := map[string]struct {
		contentType, allowed string
		status               int
		anonymous            bool
		off                  bool
		want                 string
	}{
		"a page":                      {contentType: "text/html; charset=utf-8", want: "no-store"},
		"a page that may be kept":     {contentType: "TEXT/HTML", allowed: "public, max-age=3600", want: "no-store"},
		"XHTML":                       {contentType: "application/xhtml+xml", want: "no-store"},
		"of no type":                  {want: "no-store"},
		"not modified":                {status: http.StatusNotModified, want: "no-store"},
		"a page of an error":          {contentType: "text/html", status: http.StatusNotFound, want: "no-store"},
		"an image":                    {contentType: "image/png", allowed: "public, max-age=3600", want: "public, max-age=3600"},
		"a script":                    {contentType: "text/javascript"},
		"a page for the anonymous":    {contentType: "text/html", allowed: "public", anonymous: true, want: "public"},
		"a page without the option":   {contentType: "text/html", off: true, want: ""},
		"a page with its own refusal": {contentType: "text/html", allowed: "no-store", want: "no-store"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestApp(t, nil)
			c, _ := a.signIn(t, "alice", "")
			gate := gate.Options{Optional: true, NoStore: &on}
			if test.off {
				gate.NoStore = nil
			}
			headers := []string{sessionCookieLine(c)}
			if test.anonymous {
				headers = nil
			}
			w := serve(t, newGate(t, a, gate), newRequest(t, http.MethodGet, "/", headers...), func(w http.ResponseWriter, _ *http.Request) error {
				if test.contentType != "" {
					w.Header().Set("Content-Type", test.contentType)
				}
				if test.allowed != "" {
					w.Header().Set("Cache-Control", test.allowed)
				}
				if test.status != 0 {
					w.WriteHeader(test.status)
					return nil
				}
				_, err := w.Write([]byte("x"))
				return err
			})
			if got := w.Header().Get("Cache-Control"); got != test.want {
				t.Errorf("Cache-Control is %q, want %q", got, test.want)
			}
		})
	}
}

// A watched response keeps its abilities: early hints, flushes, copies and hijacked
// connections.
func TestNoStoreKeepsTheWriterWhole(t *testing.T) {
	var handler http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler(httpx.HookResponse(w, func(w http.ResponseWriter, status int) bool {
			httpx.NoStore(w.Header(), status)
			return false
		}), r)
	}))
	defer server.Close()
	get := func() *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		storetest.NoError(t, err)
		res, err := server.Client().Do(r)
		storetest.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}

	flushed := make(chan struct{})
	handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusEarlyHints)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		select { // the client has the header before the body is there
		case <-flushed:
		case <-r.Context().Done():
		}
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("the body"))
	}
	res := get()
	close(flushed)
	body, err := io.ReadAll(res.Body)
	storetest.NoError(t, err)
	if res.Header.Get("Cache-Control") != "no-store" || string(body) != "the body" {
		t.Errorf("got %q %q", res.Header, body)
	}

	handler = func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\ntaken over\n")
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	storetest.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	storetest.NoError(t, err)
	all, err := io.ReadAll(bufio.NewReader(conn))
	storetest.NoError(t, err)
	if !strings.HasSuffix(string(all), "taken over\n") {
		t.Errorf("got %q", all)
	}
}

// The image of a signed-out page changes a cookie that scripts cannot read, and
// nothing else: it is not a logout.
func TestDoneChangesNoSession(t *testing.T) {
	a := newTestApp(t, func(a *App) { a.Cookie.Name = "__Host-session" })
	c, _ := a.signIn(t, "alice", "")
	w := serve(t, &signout.Handler{Site: a.Site}, newRequest(t, http.MethodGet, siteURL+"/self-service/logout/done", "Cookie: __Host-session="+c.Secret()), nil)
	want := "__Host-session_done=1; Path=/; Max-Age=1; HttpOnly; Secure; SameSite=Lax"
	if got := w.Header().Get("Set-Cookie"); w.Code != http.StatusNoContent || got != want || w.Body.Len() != 0 {
		t.Errorf("got %d %q", w.Code, got)
	}
	if !a.alive(t, c) {
		t.Error("the session was ended")
	}
}
