// Exchanges 32 to 59: the submission of a logout.

package integration_test

const toSubmit = "/self-service/logout"

var bogus = toSubmit + "?token=ory_lo_bogusbogusbogusbogusbogusbogus"

var exchangesSubmit = []exchange{
	{n: 32, name: "submit, JSON", path: "{logout:b}", accept: acceptJSON, cookie: "{c:b}", was: noContent.clears().csrf()},
	{n: 33, name: "submit, any", path: "{logout:c}", accept: "Accept: */*", cookie: "{c:c}", was: seeOther("{app}/login").clears().csrf()},
	{n: 34, name: "submit, no Accept", path: "{logout:d}", cookie: "{c:d}", was: seeOther("{app}/login").clears().csrf()},
	{n: 35, name: "submit, session cookie alone", path: "{logout:e}", accept: acceptJSON, cookie: "{only:e}", was: noContent.clears().csrf()},
	{
		n: 36, name: "submit, created with return_to", path: "{logout:f?return_to=" + bye + "}", accept: acceptBrowser, cookie: "{c:f}",
		was: seeOther("{app}/bye").clears().csrf(),
	},
	{
		n: 37, name: "submit, return_to allowed", path: "{logout:g}&return_to=" + bye, accept: acceptBrowser, cookie: "{c:g}",
		was: seeOther("{app}/bye").clears().csrf(),
	},
	{
		n: 38, name: "submit, return_to foreign, HTML", path: "{logout:h}&return_to=" + evil, accept: acceptBrowser, cookie: "{c:h}",
		was: errorPage.clears().csrf(), now: errorPage, why: whyReturnTo,
	},
	{
		n: 39, name: "then whoami", path: toWhoami, accept: acceptJSON, cookie: "{c:h}",
		was: noCredentials, now: whoamiOK, why: whyReturnTo,
	},
	{
		n: 40, name: "submit, return_to foreign, JSON", path: "{logout:i}&return_to=" + evil, accept: acceptJSON, cookie: "{c:i}",
		was: returnToForbidden.clears().csrf(), now: returnToForbidden, why: whyReturnTo,
	},
	{
		n: 41, name: "then whoami", path: toWhoami, accept: acceptJSON, cookie: "{c:i}",
		was: noCredentials, now: whoamiOK, why: whyReturnTo,
	},

	{n: 42, name: "submit, wrong token, JSON", path: bogus, accept: acceptJSON, cookie: "{c:j}", was: wrongToken},
	{n: 43, name: "submit, empty token, JSON", path: toSubmit + "?token=", accept: acceptJSON, cookie: "{c:j}", was: noToken},
	{n: 44, name: "submit, no token, JSON", path: toSubmit, accept: acceptJSON, cookie: "{c:j}", was: noToken},
	{n: 45, name: "submit, no cookie, JSON", path: "{logout:j}", accept: acceptJSON, was: noSession.csrf()},
	{
		n: 46, name: "submit, garbage cookie, JSON", path: "{logout:j}", accept: acceptJSON, cookie: "{garbage}",
		was: noSession.csrf(), now: noSession.clears(), why: whyClear,
	},
	{n: 47, name: "submit, wrong token, HTML", path: bogus, accept: acceptBrowser, cookie: "{c:j}", was: errorPage},
	{n: 48, name: "submit, empty token, HTML", path: toSubmit + "?token=", accept: acceptBrowser, cookie: "{c:j}", was: errorPage},
	{n: 49, name: "submit, no token, HTML", path: toSubmit, accept: acceptBrowser, cookie: "{c:j}", was: errorPage},
	{n: 50, name: "submit, no cookie, HTML", path: "{logout:j}", accept: acceptBrowser, was: errorPage.csrf()},
	{
		n: 51, name: "submit, garbage cookie, HTML", path: "{logout:j}", accept: acceptBrowser, cookie: "{garbage}",
		was: errorPage.csrf(), now: errorPage.csrf().clears(), why: whyClear,
	},
	{n: 52, name: "submit, token of another session", path: "{logout:j}", accept: acceptJSON, cookie: "{c:k}", was: wrongToken},

	{
		n: 53, name: "submit, HEAD", method: "HEAD", path: "{logout:l}", accept: acceptJSON, cookie: "{c:l}",
		was: noContent.clears().csrf(), then: 401,
		now: wire{status: 200, errorID: noHeader}, nowThen: 200,
		why: "HEAD is safe and changes nothing, so it cannot answer as GET would: nobody was logged out",
	},
	{
		n: 54, name: "submit, POST, JSON", method: "POST", path: "{logout:m}", accept: acceptJSON, cookie: "{c:m}",
		was: csrfViolation, then: 200, now: noContent.clears(), nowThen: 401, why: whyPost,
	},
	{
		n: 55, name: "submit, PUT", method: "PUT", path: "{logout:n}", accept: acceptJSON, cookie: "{c:n}",
		was: csrfViolation, then: 200, now: notAllowed("GET, HEAD, POST"), nowThen: 200, why: whyMethod,
	},
	{
		n: 56, name: "submit, PATCH", method: "PATCH", path: "{logout:o}", accept: acceptJSON, cookie: "{c:o}",
		was: csrfViolation, then: 200, now: notAllowed("GET, HEAD, POST"), nowThen: 200, why: whyMethod,
	},
	{
		n: 57, name: "submit, DELETE", method: "DELETE", path: "{logout:p}", accept: acceptJSON, cookie: "{c:p}",
		was: csrfViolation, then: 200, now: notAllowed("GET, HEAD, POST"), nowThen: 200, why: whyMethod,
	},
	{
		n: 58, name: "submit, OPTIONS", method: "OPTIONS", path: "{logout:q}", accept: acceptJSON, cookie: "{c:q}",
		was: notAllowed("GET, HEAD"), then: 200, now: notAllowed("GET, HEAD, POST"), nowThen: 200, why: "POST is allowed too",
	},
	{
		n: 59, name: "submit, POST, HTML", method: "POST", path: "{logout:r}", accept: acceptBrowser, cookie: "{c:r}",
		was: csrfViolation, now: bare(seeOther("{app}/login")).clears(), why: whyPost + "; its redirect has no body",
	},
}

// bare drops the body: HTML is for GET, says net/http.
func bare(w wire) wire { w.contentType, w.body = "", ""; return w }
