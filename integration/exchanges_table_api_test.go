// Exchanges 60 to 98: logout of apps, and whoami.

package integration_test

const (
	toAPI = "/self-service/logout/api"

	whyType   = "the reason names what is wanted and repeats nothing that a client sent"
	whyDecode = "the reason says what is wrong with the JSON and not how the server is written"
	unknownST = `{"session_token": "ory_st_doesnotexistdoesnotexist"}`
)

func tokenBody(session string) string { return `{"session_token": "{st:` + session + `}"}` }

var whoamiPlain = wire{status: 200, contentType: typeJSON, errorID: noHeader, identity: true}

var exchangesAPI = []exchange{
	{n: 60, name: "api", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: tokenBody("u"), was: noContent},
	{n: 61, name: "api, again", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: tokenBody("u"), was: noContent},
	{n: 62, name: "then whoami", path: toWhoami, accept: acceptJSON, header: "X-Session-Token: {st:u}", was: noCredentials},
	{n: 63, name: "api, unknown token, JSON", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: unknownST, was: unknown},
	{n: 64, name: "api, unknown token, HTML", method: "DELETE", path: toAPI, accept: acceptBrowser, contentType: sendsJSON, body: unknownST, was: unknown},
	{
		n: 65, name: "api, cut JSON", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: `{"session_token":`,
		was: undecodable("unexpected EOF"), now: undecodable(cutJSON), why: whyDecode,
	},
	{
		n: 66, name: "api, JSON string", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: `"abc"`,
		was: undecodable("json: cannot unmarshal string into Go value of type logout.performNativeLogoutBody"),
		now: undecodable(notObject), why: whyDecode,
	},
	{
		n: 67, name: "api, Content-Length 0", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON,
		header: "Content-Length: 0", was: emptyBody,
	},
	{n: 68, name: "api, no body", method: "DELETE", path: toAPI, accept: acceptJSON, was: emptyBody},
	{n: 69, name: "api, no session_token", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: "{}", was: unknown},
	{
		n: 70, name: "api, empty session_token", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON,
		body: `{"session_token":""}`, was: unknown,
	},
	{
		n: 71, name: "api, session_token a number", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON,
		body: `{"session_token":123}`,
		was:  undecodable("json: cannot unmarshal number into Go struct field performNativeLogoutBody.session_token of type string"),
		now:  undecodable(notString), why: whyDecode,
	},
	{n: 72, name: "api, null", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: "null", was: unknown},
	{
		n: 73, name: "api, further field", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON,
		body: `{"session_token": "{st:v}", "extra": 1}`, was: noContent,
	},
	{n: 74, name: "api, no Content-Type", method: "DELETE", path: toAPI, accept: acceptJSON, body: tokenBody("w"), was: unsupported(""), now: failed(400, "", badType, malformed), why: whyType},
	{
		n: 75, name: "api, text", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: "Content-Type: text/plain", body: tokenBody("x"),
		was: unsupported("text/plain"), now: failed(400, "", badType, malformed), why: whyType,
	},
	{
		n: 76, name: "api, form", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: "Content-Type: application/x-www-form-urlencoded",
		body: "session_token={st:y}", was: unsupported("application/x-www-form-urlencoded"), now: failed(400, "", badType, malformed), why: whyType,
	},
	{
		n: 77, name: "api, charset", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: "Content-Type: application/json; charset=utf-8",
		body: tokenBody("z"), was: noContent,
	},
	{
		n: 78, name: "api, more after the JSON", method: "DELETE", path: toAPI, accept: acceptJSON, contentType: sendsJSON,
		body: tokenBody("aa") + " xx", was: noContent,
	},
	{
		n: 79, name: "api, token in the header", method: "DELETE", path: toAPI, accept: acceptJSON, header: "X-Session-Token: {st:aa}",
		was: emptyBody, now: noContent, why: "without a body, the token is taken from the header it came in",
	},
	{n: 80, name: "api, GET", path: toAPI, accept: acceptJSON, contentType: sendsJSON, was: notAllowed("DELETE")},
	{n: 81, name: "api, POST", method: "POST", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: tokenBody("aa"), was: notAllowed("DELETE")},
	{n: 82, name: "api, PUT", method: "PUT", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: tokenBody("aa"), was: notAllowed("DELETE")},
	{n: 83, name: "api, OPTIONS", method: "OPTIONS", path: toAPI, accept: acceptJSON, contentType: sendsJSON, body: tokenBody("aa"), was: notAllowed("DELETE")},

	{n: 84, name: "whoami, cookie", path: toWhoami, accept: acceptJSON, cookie: "{c:ab}", was: whoamiOK},
	{n: 85, name: "whoami, X-Session-Token", path: toWhoami, accept: acceptJSON, header: "X-Session-Token: {st:ac}", was: whoamiOK},
	{n: 86, name: "whoami, Bearer", path: toWhoami, accept: acceptJSON, header: "Authorization: Bearer {st:ac}", was: whoamiOK},
	{n: 87, name: "whoami, bearer", path: toWhoami, accept: acceptJSON, header: "Authorization: bearer {st:ac}", was: whoamiOK},
	{n: 88, name: "whoami, X-Session-Cookie", path: toWhoami, accept: acceptJSON, header: "X-Session-Cookie: {value:ab}", was: noCredentials},
	{n: 89, name: "whoami, nothing, JSON", path: toWhoami, accept: acceptJSON, was: noCredentials},
	{n: 90, name: "whoami, nothing, HTML", path: toWhoami, accept: acceptBrowser, was: noCredentials},
	{n: 91, name: "whoami, garbage token", path: toWhoami, accept: acceptJSON, header: "X-Session-Token: nope", was: noCredentials},
	{
		n: 92, name: "whoami, garbage cookie", path: toWhoami, accept: acceptJSON, cookie: cookieName + "=nope",
		was: noCredentials, now: noCredentials.clears(), why: whyClear,
	},
	{n: 93, name: "whoami, HEAD", method: "HEAD", path: toWhoami, accept: acceptJSON, cookie: "{c:ab}", was: whoamiPlain},
	{n: 94, name: "whoami, POST", method: "POST", path: toWhoami, accept: acceptJSON, header: "X-Session-Token: {st:ac}", was: whoamiOK},
	{n: 95, name: "whoami, DELETE", method: "DELETE", path: toWhoami, accept: acceptJSON, header: "X-Session-Token: {st:ac}", was: whoamiOK},
	{
		n: 96, name: "end the other sessions", method: "DELETE", path: "/sessions", accept: acceptJSON, header: "X-Session-Token: {st:ac}",
		was: wire{status: 200, contentType: typeJSON, errorID: noHeader, body: `{"count":29}`},
		now: wire{status: 200, contentType: typeJSON, errorID: noHeader, body: `{"count":{live}}`},
		why: "the count is of sessions that really ended, not of all that ever were",
	},
	{n: 97, name: "unknown path", path: "/self-service/logout/nope", accept: acceptJSON, was: notFound.csrf()},
	{n: 98, name: "slash at the end", path: "/self-service/logout/browser/", accept: acceptJSON, was: notFound.csrf()},
}
