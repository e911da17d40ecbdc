package caddylogout

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/gate"
	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/signin"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

func TestAdmit(t *testing.T) {
	const h1, h2, h3 = "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"
	for _, test := range []struct {
		name, method, proto, path string
		length                    int64
		header, want              http.Header
		status                    int // 0 if it is admitted
	}{
		{name: "nothing", method: "GET", proto: h1, path: "/"},
		{name: "keep-alive", method: "GET", proto: h1, path: "/", header: http.Header{"Connection": {"keep-alive, Upgrade"}}, want: http.Header{"Connection": {"keep-alive, Upgrade"}}},
		{name: "a WebSocket", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websocket"), want: upgrade("Upgrade", "websocket")},
		{name: "in other case", method: "GET", proto: h1, path: "/", header: upgrade("keep-alive, uPGRADE", "WebSocket"), want: upgrade("keep-alive, uPGRADE", "WebSocket")},
		{name: "a WebSocket with settings of HTTP/2", method: "GET", proto: h1, path: "/", header: with(upgrade("Upgrade, HTTP2-Settings", "websocket"), "Http2-Settings", "AAMA"), want: upgrade("Upgrade", "websocket")},
		{name: "h2c", method: "GET", proto: h1, path: "/", header: with(upgrade("Upgrade, HTTP2-Settings", "h2c"), "Http2-Settings", "AAMA")},
		{name: "h2c beside keep-alive", method: "GET", proto: h1, path: "/", header: upgrade("keep-alive,upgrade ,\thttp2-settings", "h2c"), want: http.Header{"Connection": {"keep-alive"}}},
		{name: "two in one line", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websocket, h2c")},
		{name: "two lines", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websocket", "h2c")},
		{name: "twice the same", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websocket", "websocket")},
		{name: "a version", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websocket/13")},
		{name: "blanks around it", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", " websocket")},
		{name: "the sign of Kelvin", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "websoc\u212aet")},
		{name: "empty", method: "GET", proto: h1, path: "/", header: upgrade("Upgrade", "")},
		{name: "not in Connection", method: "GET", proto: h1, path: "/", header: upgrade("close", "websocket"), want: http.Header{"Connection": {"close"}}},
		{name: "settings alone", method: "GET", proto: h1, path: "/", header: http.Header{"Connection": {"HTTP2-Settings"}, "Http2-Settings": {"AAMA"}}},
		{name: "a POST", method: "POST", proto: h1, path: "/", header: upgrade("Upgrade", "websocket")},
		{name: "with a body", method: "GET", proto: h1, path: "/", length: 2, header: upgrade("Upgrade", "websocket")},
		{name: "with a body of unknown length", method: "GET", proto: h1, path: "/", length: -1, header: upgrade("Upgrade", "websocket")},
		{name: "by HTTP/1.0", method: "GET", proto: "HTTP/1.0", path: "/", header: upgrade("Upgrade", "websocket")},
		{name: "by HTTP/2", method: "GET", proto: h2, path: "/", header: upgrade("Upgrade", "websocket")},
		{name: "CONNECT", method: "CONNECT", proto: h1, status: 501},
		{name: "CONNECT to a path", method: "CONNECT", proto: h1, path: "/", length: -1, status: 501},
		{name: "CONNECT with Upgrade", method: "CONNECT", proto: h1, path: "/", length: -1, header: upgrade("Upgrade", "websocket"), status: 501},
		{name: "CONNECT with :protocol by HTTP/1", method: "CONNECT", proto: h1, path: "/", length: -1, header: http.Header{":protocol": {"websocket"}}, status: 501},
		{name: "CONNECT by HTTP/2", method: "CONNECT", proto: h2, length: -1, status: 501},
		{name: "a WebSocket by HTTP/2", method: "CONNECT", proto: h2, path: "/", length: -1, header: http.Header{":protocol": {"websocket"}}, want: http.Header{":protocol": {"websocket"}}},
		{name: "in other case by HTTP/2", method: "CONNECT", proto: h2, path: "/", length: -1, header: http.Header{":protocol": {"WebSocket"}}, status: 501},
		{name: "two protocols by HTTP/2", method: "CONNECT", proto: h2, path: "/", length: -1, header: http.Header{":protocol": {"websocket", "x"}}, status: 501},
		{name: "another protocol by HTTP/2", method: "CONNECT", proto: h2, path: "/", length: -1, header: http.Header{":protocol": {"connect-udp"}}, status: 501},
		{name: "a WebSocket of known length by HTTP/2", method: "CONNECT", proto: h2, path: "/", length: 5, header: http.Header{":protocol": {"websocket"}}, status: 501},
		{name: "one that has ended by HTTP/2", method: "CONNECT", proto: h2, path: "/", header: http.Header{":protocol": {"websocket"}}, status: 501},
		{name: "CONNECT by HTTP/3", method: "CONNECT", proto: h3, length: -1, status: 501},
		{name: "a WebSocket by HTTP/3", method: "CONNECT", proto: "websocket", path: "/", length: -1},
		{name: "in other case by HTTP/3", method: "CONNECT", proto: "WebSocket", path: "/", length: -1, status: 501},
		{name: "a header for it by HTTP/3", method: "CONNECT", proto: h3, path: "/", length: -1, header: http.Header{":protocol": {"websocket"}}, status: 501},
		{name: "another protocol by HTTP/3", method: "CONNECT", proto: "connect-udp", path: "/", length: -1, status: 501},
		{name: "a method of other case", method: "connect", proto: h1, path: "/", length: -1},
		{name: "no path", method: "GET", proto: h1, path: ""},
		{name: "an asterisk", method: "GET", proto: h1, path: "*", status: 400},
		{name: "OPTIONS *", method: "OPTIONS", proto: h3, path: "*", status: 400},
		{name: "PRI *", method: "PRI", proto: h1, path: "*", status: 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRequest(t, test.method, "/")
			r.Proto, r.ContentLength, r.URL.Path, r.Header = test.proto, test.length, test.path, maps.Clone(test.header)
			var ok bool
			if r.ProtoMajor, r.ProtoMinor, ok = http.ParseHTTPVersion(test.proto); !ok {
				r.ProtoMajor, r.ProtoMinor = 3, 0 // an extended CONNECT over HTTP/3
			}
			refusal := web.Admit(r)
			if status := statusOrZero(refusal); status != test.status {
				t.Fatalf("status %d, want %d", status, test.status)
			}
			if refusal == nil && test.method != http.MethodConnect && r.URL.Path != "/" {
				t.Errorf("path %q", r.URL.Path)
			}
			if refusal == nil && (len(r.Header) > 0 || len(test.want) > 0) && !reflect.DeepEqual(r.Header, test.want) {
				t.Errorf("left: %q, want %q", r.Header, test.want)
			}
		})
	}
}

func statusOrZero(e *web.Error) int {
	if e == nil {
		return 0
	}
	return e.Code
}

func upgrade(connection string, to ...string) http.Header {
	return http.Header{"Connection": {connection}, "Upgrade": to}
}

func with(h http.Header, name, value string) http.Header {
	h[name] = []string{value}
	return h
}

// Each handler refuses by itself, since it may be the only one in front of an app.
func TestEveryHandlerRefusesTunnels(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	for name, handler := range map[string]caddyhttp.MiddlewareHandler{
		"session_auth": newGate(t, a, gate.Options{}), "optional": newGate(t, a, gate.Options{Optional: true}),
		"logout": &signout.Handler{Site: a.Site}, "login": &signin.Handler{Site: a.Site},
		"logout_on": &signout.Handler{Site: a.Site, Options: signout.Options{AppLogout: signout.AppLogout{LogoutOn: []signout.LogoutOn{{}}}}},
	} {
		r := newRequest(t, http.MethodConnect, "/", sessionCookieLine(c))
		answer := serve(t, handler, r, func(http.ResponseWriter, *http.Request) error {
			t.Errorf("%s: it went on", name)
			return nil
		})
		if answer.Code != http.StatusNotImplemented || answer.Header().Get("Connection") != "close" || answer.Header().Get("Ory-Error-Id") != "connect_not_implemented" {
			t.Errorf("%s: %d %v", name, answer.Code, answer.Header())
		}
		if got := answer.Header().Values("Set-Cookie"); got != nil {
			t.Errorf("%s: set %q", name, got)
		}
		r = newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
		arrived := false
		serve(t, handler, r, func(_ http.ResponseWriter, r *http.Request) error {
			arrived = true
			for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
				if values, there := r.Header[name]; there {
					t.Errorf("%s: %q arrived", name, values)
				}
			}
			return nil
		})
		if !arrived {
			t.Errorf("%s: without Upgrade it did not go on", name)
		}
	}
}

// So do the provider and the matcher, which may be the only module of ours.
func TestProviderAndMatcherRefuseTunnels(t *testing.T) {
	a := newTestApp(t, nil)
	c, _ := a.signIn(t, "alice", "")
	provider, matcher := &SessionProvider{site: a.Site}, &MatchSession{site: a.Site}
	r := newRequest(t, http.MethodConnect, "/", sessionCookieLine(c))
	if _, in, err := provider.Authenticate(httptest.NewRecorder(), r); in || err != nil {
		t.Errorf("provider: %t, %v", in, err)
	}
	matched, err := matcher.MatchWithError(r)
	var failure caddyhttp.HandlerError
	if matched || !errors.As(err, &failure) || failure.StatusCode != http.StatusNotImplemented {
		t.Errorf("matcher: %t, %v", matched, err)
	}
	for range 2 {
		r = newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Connection: Upgrade", "Upgrade: h2c")
		if _, in, err := provider.Authenticate(httptest.NewRecorder(), r); !in || err != nil || len(r.Header["Upgrade"]) > 0 {
			t.Errorf("provider: %t, %v, %v", in, err, r.Header)
		}
		r = newRequest(t, http.MethodGet, "/", sessionCookieLine(c), "Connection: Upgrade", "Upgrade: h2c")
		if in, err := matcher.MatchWithError(r); !in || err != nil || len(r.Header["Upgrade"]) > 0 {
			t.Errorf("matcher: %t, %v, %v", in, err, r.Header)
		}
	}
}

func TestAdmitAllocatesNothing(t *testing.T) {
	plain := newRequest(t, http.MethodGet, "/")
	plain.Header = http.Header{"Cookie": {"theme=dark"}, "Connection": {"keep-alive, Upgrade"}, "Accept": {"text/html"}, "User-Agent": {"x"}}
	ws := newRequest(t, http.MethodGet, "/")
	ws.Header = upgrade("keep-alive, Upgrade", "websocket")
	for name, r := range map[string]*http.Request{"plain": plain, "WebSocket": ws} {
		if n := testing.AllocsPerRun(100, func() {
			if web.Admit(r) != nil {
				t.Error("refused")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzCutUpgrade makes requests of bytes as a server reads them, and sees to it that
// an upgrade goes on only if it is one to a WebSocket, and nothing else is lost.
func FuzzCutUpgrade(f *testing.F) {
	for _, seed := range []string{
		"Connection: Upgrade\r\nUpgrade: websocket", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA",
		"Connection: close\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nUpgrade: h2c", "connection:,upgrade,\r\nupgrade:websocket,h2c",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n\r\n")))
		if err != nil || web.Admit(r.Clone(t.Context())) != nil {
			return
		}
		before := r.Header.Clone()
		if refusal := web.Admit(r); refusal != nil {
			t.Fatalf("%q: refused once only", lines)
		}
		if len(r.Header["Http2-Settings"]) > 0 {
			t.Fatalf("%q: settings are left", lines)
		}
		if up := r.Header["Upgrade"]; len(up) > 0 && (len(up) > 1 || strings.ToLower(up[0]) != "websocket" || r.ContentLength != 0 || len(r.TransferEncoding) > 0) {
			t.Fatalf("%q: %q is left", lines, up)
		}
		options := func(h http.Header) (out []string) {
			for _, line := range h["Connection"] {
				for option := range strings.SplitSeq(line, ",") {
					if option = strings.ToLower(httpx.TrimBlanks(option)); option != "" && option != "upgrade" && option != "http2-settings" {
						out = append(out, option)
					}
				}
			}
			return out
		}
		if got, want := options(r.Header), options(before); !slices.Equal(got, want) {
			t.Fatalf("%q: options %q, want %q", lines, got, want)
		}
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			delete(before, name)
			delete(r.Header, name)
		}
		if !reflect.DeepEqual(r.Header, before) {
			t.Fatalf("%q: left %q, want %q", lines, r.Header, before)
		}
	})
}
