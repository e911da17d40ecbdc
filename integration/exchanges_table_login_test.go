// Exchanges 1 to 31: sign-in, and the creation of a logout.

package integration_test

const (
	toCreate = "/self-service/logout/browser"
	toWhoami = "/sessions/whoami"
	evil     = "https%3A%2F%2Fevil.example%2F"
	bye      = "http%3A%2F%2F127.0.0.1%3A21455%2Fbye"
)

// Reasons of more than one difference.
const (
	whyClear    = "a dead cookie is always cleared, so that the browser stops sending it"
	whyMethod   = "no method but the listed ones is answered, so there is nothing to protect from forgery"
	whyReplay   = "the same logout opened twice is answered as the first time, for ten minutes"
	whyReturnTo = "return_to is checked before anything is revoked: the session stays"
	whyPost     = "POST signs out as GET does: the logout token is the protection from forgery"
)

var exchangesLogin = []exchange{
	{
		n: 1, name: "sign in, api", method: "POST", path: "{action:api}", accept: acceptJSON, contentType: sendsJSON,
		body: loginBody(""),
		was:  wire{status: 200, contentType: typeJSON, errorID: noHeader, body: `{"session_token":"<credential>","session":` + sessionJSON + `,"continue_with":null}`},
	},
	{
		n: 2, name: "sign in, browser", method: "POST", path: "{action:browser}", accept: acceptJSON, contentType: sendsJSON,
		cookie: "{login cookies}", body: loginBody("{csrf token}"),
		was: wire{status: 200, contentType: typeJSON, errorID: noHeader, body: `{"session":` + sessionJSON +
			`,"continue_with":[{"action":"redirect_browser_to","redirect_browser_to":"{app}/welcome"}]}`}.csrf().sets(),
	},

	{n: 3, name: "create, no cookie, JSON", path: toCreate, accept: acceptJSON, was: noSession.csrf()},
	{n: 4, name: "create, no cookie, HTML", path: toCreate, accept: acceptBrowser, was: errorPage.csrf()},
	{n: 5, name: "create, no cookie, any", path: toCreate, accept: "Accept: */*", was: errorPage.csrf()},
	{n: 6, name: "create, no cookie, no Accept", path: toCreate, was: errorPage.csrf()},
	{n: 7, name: "create, JSON", path: toCreate, accept: acceptJSON, cookie: "{c:a}", was: flow("")},
	{n: 8, name: "create, HTML", path: toCreate, accept: acceptBrowser, cookie: "{c:a}", was: flow("")},
	{n: 9, name: "create, any", path: toCreate, accept: "Accept: */*", cookie: "{c:a}", was: flow("")},
	{n: 10, name: "create, no Accept", path: toCreate, cookie: "{c:a}", was: flow("")},
	{n: 11, name: "create, session cookie alone", path: toCreate, accept: acceptJSON, cookie: "{only:a}", was: flow("").csrf()},
	{
		n: 12, name: "create, garbage cookie, JSON", path: toCreate, accept: acceptJSON, cookie: "{garbage}",
		was: noSession.csrf(), now: noSession.clears(), why: whyClear,
	},
	{
		n: 13, name: "create, garbage cookie, HTML", path: toCreate, accept: acceptBrowser, cookie: "{garbage}",
		was: errorPage.csrf(), now: errorPage.csrf().clears(), why: whyClear,
	},
	{
		n: 14, name: "create, return_to allowed", path: toCreate + "?return_to=" + bye, accept: acceptJSON, cookie: "{c:a}",
		was: flow("return_to=" + bye + "&"),
	},
	{
		n: 15, name: "create, return_to foreign, JSON", path: toCreate + "?return_to=" + evil, accept: acceptJSON, cookie: "{c:a}",
		was: returnToForbidden,
	},
	{
		n: 16, name: "create, return_to foreign, HTML", path: toCreate + "?return_to=" + evil, accept: acceptBrowser, cookie: "{c:a}",
		was: errorPage,
	},
	{n: 17, name: "create, X-Session-Token", path: toCreate, accept: acceptJSON, header: "X-Session-Token: {st:t}", was: flow("").csrf()},
	{n: 18, name: "create, bearer", path: toCreate, accept: acceptJSON, header: "Authorization: Bearer {st:t}", was: flow("").csrf()},
	{n: 19, name: "create, HEAD", method: "HEAD", path: toCreate, accept: acceptJSON, cookie: "{c:a}", was: headOK},
	{
		n: 20, name: "create, POST", method: "POST", path: toCreate, accept: acceptJSON, cookie: "{c:a}",
		was: csrfViolation, now: notAllowed("GET, HEAD"), why: whyMethod,
	},
	{
		n: 21, name: "create, PUT", method: "PUT", path: toCreate, accept: acceptJSON, cookie: "{c:a}",
		was: csrfViolation, now: notAllowed("GET, HEAD"), why: whyMethod,
	},
	{
		n: 22, name: "create, DELETE", method: "DELETE", path: toCreate, accept: acceptJSON, cookie: "{c:a}",
		was: csrfViolation, now: notAllowed("GET, HEAD"), why: whyMethod,
	},
	{n: 23, name: "create, OPTIONS", method: "OPTIONS", path: toCreate, accept: acceptJSON, cookie: "{c:a}", was: notAllowed("GET, HEAD")},
	{n: 24, name: "create, Origin", path: toCreate, accept: acceptJSON, cookie: "{c:a}", header: "Origin: " + appURL, was: flow("")},

	{n: 25, name: "submit, HTML", path: "{logout:a}", accept: acceptBrowser, cookie: "{c:a}", was: seeOther("{app}/login").clears().csrf()},
	{
		n: 26, name: "submit again, HTML", path: "{logout:a}", accept: acceptBrowser, cookie: "{c:a}",
		was: errorPage, now: seeOther("{app}/login").clears(), why: whyReplay,
	},
	{
		n: 27, name: "submit again, JSON", path: "{logout:a}", accept: acceptJSON, cookie: "{c:a}",
		was: noSession, now: noContent.clears(), why: whyReplay,
	},
	{
		n: 28, name: "submit again, no cookie, HTML", path: "{logout:a}", accept: acceptBrowser,
		was: errorPage.csrf(), now: seeOther("{app}/login"), why: whyReplay,
	},
	{
		n: 29, name: "submit again, no cookie, JSON", path: "{logout:a}", accept: acceptJSON,
		was: noSession.csrf(), now: noContent, why: whyReplay,
	},
	{
		n: 30, name: "whoami after logout", path: toWhoami, accept: acceptJSON, cookie: "{c:a}",
		was: noCredentials, now: noCredentials.clears(), why: whyClear,
	},
	{
		n: 31, name: "create after logout", path: toCreate, accept: acceptJSON, cookie: "{c:a}",
		was: noSession, now: noSession.clears(), why: whyClear,
	},
}
