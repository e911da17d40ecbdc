package signout

import (
	"strings"

	"github.com/caddy-logout/caddy-logout/pages"
)

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
	{"okhttp/", "device.android_app"},
	{"CFNetwork/", "device.apple_app"},
	{"python-requests/", "device.python"},
	{"Go-http-client/", "device.go"},
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

// BrowserName says what a User-Agent header is of, such as "Firefox on Windows",
// and what kind of thing that is. It answers from its own words alone and repeats
// nothing of the header, which is whatever a client likes to send.
func BrowserName(texts *pages.Set, agent string) (name, kind string) {
	browser, system := firstOf(browsers, agent), firstOf(systems, agent)
	kind = "desktop"
	switch {
	case system == "iPhone" || system == "iPad" || system == "Android":
		kind = "phone"
	case system == "" && browser != "":
		kind = "program"
	}
	if strings.HasPrefix(browser, "device.") {
		browser = texts.Text(browser)
	}
	switch {
	case browser == "" && system == "":
		return texts.Text("device.unknown"), kind
	case browser == "":
		return texts.Text("device.system", system), kind
	case system == "":
		return browser, kind
	default:
		return texts.Text("device.browser", browser, system), kind
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
