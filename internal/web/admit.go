package web

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
)

const upgradeToWebSocket = "websocket"

// Admit makes a request one that may go on to an app, or returns why it may not.
// Each handler calls it first, since each may be the only one in front of an app.
//
// A proxy writes the body of a CONNECT without framing behind the head of the request
// (RFC 9110, section 9.3.6), and the app takes it for the next request, with a path
// and an identity of the client's making. An Upgrade to anything else than a
// WebSocket is a connection on which the client speaks HTTP with the app itself:
// Upgrade: h2c is (RFC 7540, section 3.2; RFC 9113 has dropped it). A 101 without a
// request for it needs nothing here: the proxy hands a connection over only if the
// response names the protocol that the client asked for.
//
// A target without a path goes to the app as /, and one that is * as it is, and no
// gate over /* sees either.
func Admit(r *http.Request) *Error {
	if r.Method == http.MethodConnect {
		if !isConnectWebSocket(r) {
			return errConnectRefused()
		}
		return nil
	}
	switch r.URL.Path {
	case "":
		r.URL.Path = "/" // the same (RFC 9110, section 4.2.3)
	case "*":
		return errAsteriskRefused()
	}
	if len(r.Header["Upgrade"])+len(r.Header["Http2-Settings"]) > 0 {
		cutUpgrade(r.Header, isWebSocketUpgrade(r))
	}
	return nil
}

// isConnectWebSocket reports whether Caddy's proxy turns a CONNECT into the
// handshake of a WebSocket (RFC 8441, RFC 9220), which it then sends as a GET
// without a body. HTTP/2 has the protocol among the headers, HTTP/3 as the version.
// One that announces how long its body is would announce it to the app as well.
func isConnectWebSocket(r *http.Request) bool {
	if r.ContentLength >= 0 {
		return false
	}
	switch r.ProtoMajor {
	case 2:
		protocol := r.Header[":protocol"]
		return len(protocol) == 1 && protocol[0] == upgradeToWebSocket
	case 3:
		return r.Proto == upgradeToWebSocket
	}
	return false
}

// isWebSocketUpgrade reports whether a request is the handshake of a WebSocket
// (RFC 6455, section 4.1). It has no body: an app that goes over to WebSockets, or
// only looks at the head to refuse one, may take a body for what comes next.
func isWebSocketUpgrade(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return len(upgrade) == 1 &&
		len(upgrade[0]) == len(upgradeToWebSocket) && strings.EqualFold(upgrade[0], upgradeToWebSocket) &&
		r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// cutUpgrade deletes Upgrade, unless it is kept, and HTTP2-Settings, which goes
// with Upgrade: h2c, and their names in Connection. A server may always ignore
// Upgrade (RFC 9110, section 7.8).
func cutUpgrade(h http.Header, keep bool) {
	delete(h, "Http2-Settings")
	if !keep {
		delete(h, "Upgrade")
	}
	lines, cut := httpx.CutElements(h["Connection"], ',', func(option string) bool {
		option = httpx.TrimBlanks(option)
		return strings.EqualFold(option, "HTTP2-Settings") || !keep && strings.EqualFold(option, "Upgrade")
	})
	if cut {
		httpx.SetLines(h, "Connection", lines)
	}
}

func errConnectRefused() *Error {
	return NewError(http.StatusNotImplemented, "connect_not_implemented",
		"This server does not make tunnels. Of CONNECT it takes WebSockets only (RFC 8441, RFC 9220).", "The method is not implemented here")
}

func errAsteriskRefused() *Error {
	return NewError(http.StatusBadRequest, "request_target_invalid",
		"The target of this request is not a path. An asterisk is for OPTIONS, which is answered before it comes here.", MsgBadRequest)
}
