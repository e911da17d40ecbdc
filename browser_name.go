// This file says in words which browser a User-Agent header is of.

package caddylogout

import "strings"

// family is a product or a system that a User-Agent names by a token.
type family struct{ token, name string }

// browsers are in the order in which they have to be looked for: all of them
// claim to be others, too. A library that knows every device by a list of
// thousands would tell the person who looks at it nothing more.
var browsers = []family{
	{"Edg/", "Edge"},
	{"EdgA/", "Edge"},
	{"EdgiOS/", "Edge"},
	{"OPR/", "Opera"},
	{"OPT/", "Opera"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"YaBrowser/", "Yandex Browser"},
	{"Vivaldi/", "Vivaldi"},
	{"DuckDuckGo/", "DuckDuckGo"},
	{"Firefox/", "Firefox"},
	{"FxiOS/", "Firefox"},
	{"CriOS/", "Chrome"},
	{"HeadlessChrome/", "Chrome"},
	{"Chromium/", "Chromium"},
	{"Chrome/", "Chrome"},
	{"Safari/", "Safari"},
	{"curl/", "curl"},
	{"Wget/", "Wget"},
	{"okhttp/", "An Android app"},
	{"CFNetwork/", "An Apple app"},
	{"python-requests/", "A Python script"},
	{"Go-http-client/", "A Go program"},
}

var systems = []family{
	{"iPhone", "iPhone"},
	{"iPad", "iPad"},
	{"Android", "Android"},
	{"Windows", "Windows"},
	{"CrOS", "ChromeOS"},
	{"Macintosh", "macOS"},
	{"Mac OS X", "macOS"},
	{"Linux", "Linux"},
}

// browserName says what a User-Agent header is of, such as "Firefox on Windows".
// It answers from its own words alone and repeats nothing of the header, which
// is whatever a client likes to send.
func browserName(agent string) string {
	browser, system := firstOf(browsers, agent), firstOf(systems, agent)
	switch {
	case browser == "" && system == "":
		return "An unknown browser"
	case browser == "":
		return "A browser on " + system
	case system == "":
		return browser
	default:
		return browser + " on " + system
	}
}

func firstOf(families []family, agent string) string {
	for _, f := range families {
		if strings.Contains(agent, f.token) {
			return f.name
		}
	}
	return ""
}
