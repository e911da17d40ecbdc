// This file holds every sentence that the pages say, in English, and the
// sentences that a configuration puts in their place.

package pages

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// english are the sentences by key. What is in braces is a placeholder; the
// order of the placeholders is that of the arguments of [Set.Text].
var english = map[string]string{
	"login.title":            "Sign in · {site}",
	"login.title_refused":    "Error: Sign in · {site}",
	"login.heading":          "Sign in",
	"login.site":             "to {site}",
	"login.name":             "Name",
	"login.password":         "Password",
	"login.button":           "Sign in",
	"login.name_missing":     "Please enter your name.",
	"login.password_missing": "Please enter your password.",
	"login.wrong":            "The name or the password is wrong. Please check the spelling of both.",
	"login.too_many":         "There were too many failed tries to sign in. Please wait {wait} and try again.",
	"login.busy":             "Many people are signing in right now. Please try again in a few seconds.",
	"login.method":           "This way to sign in is not known here.",

	"confirm.title":   "Sign out?",
	"confirm.heading": "Do you want to sign out?",
	"confirm.text":    "A link or another site has asked for it. If it was not your wish, nothing has happened.",
	"confirm.button":  "Sign out",
	"confirm.stay":    "Stay signed in",

	"signed_out.title":   "Signed out",
	"signed_out.heading": "You are signed out",
	"signed_out.text":    "Your session has ended. Nobody can go on with it: not in this browser, and not with an old cookie.",
	"signed_out.button":  "Sign in again",

	"pending.title":   "Signing out",
	"pending.heading": "You are being signed out",
	"pending.text":    "We cannot reach the place where sessions are kept. Your sign-out was noted and will be done as soon as it is back.",
	"pending.device":  "This server lets nobody in with your session any more; others may until then. If this is not your device, close the browser too.",
	"pending.button":  "Go on",

	"sessions.title":       "Where you are signed in",
	"sessions.heading":     "Where you are signed in",
	"sessions.identity":    "as {name}",
	"sessions.this_device": "This device",
	"sessions.signed_in":   "signed in {ago}",
	"sessions.last_used":   "last used {ago}",
	"sessions.end":         "Sign out",
	"sessions.more":        "And {count} more.",
	"sessions.others":      "Sign out other devices",
	"sessions.all":         "Sign out everywhere",

	"unauthorized.title":   "You are not signed in",
	"unauthorized.heading": "You are not signed in",
	"unauthorized.text":    "This page is for people who are signed in.",
	"unauthorized.hint":    "Please sign in, and then come back here.",
	"unauthorized.button":  "Sign in",

	"error.title_400": "This did not work",
	"error.title_401": "You are not signed in",
	"error.title_403": "This was not allowed",
	"error.title_404": "There is nothing here",
	"error.title_410": "This has expired",
	"error.title_429": "Too many tries",
	"error.title_500": "Something went wrong",
	"error.title_503": "Back in a moment",
	"error.id":        "Error:",
	"error.button":    "Go on",

	// What an error says to a person, by its id. An empty one is what it says to
	// a client.
	"error.internal_error":                        "Something went wrong on our side. Please try again.",
	"error.logout_token_mismatch":                 "This link signs out another session than yours. You are still signed in.",
	"error.logout_token_missing":                  "This link is not complete, so nobody was signed out.",
	"error.not_found":                             "",
	"error.request_body_invalid":                  "",
	"error.request_body_too_large":                "",
	"error.request_content_type_unsupported":      "",
	"error.security_csrf_violation":               "",
	"error.self_service_flow_return_to_forbidden": "This link leads on to an address that is not allowed here, so nothing was done.",
	"error.self_service_flow_return_to_invalid":   "This link leads on to an address that is none, so nothing was done.",
	"error.session_inactive":                      "Your session has ended, or you have not signed in yet.",
	"error.session_store_unavailable":             "We cannot find out who you are right now. Nothing was changed: please try again in a few seconds.",
	"error.sign_in_response_invalid":              "",

	"device.unknown":     "An unknown browser",
	"device.browser":     "{browser} on {system}",
	"device.system":      "A browser on {system}",
	"device.android_app": "An Android app",
	"device.apple_app":   "An Apple app",
	"device.python":      "A Python script",
	"device.go":          "A Go program",

	"time.now":         "just now",
	"time.minute_ago":  "1 minute ago",
	"time.minutes_ago": "{count} minutes ago",
	"time.hour_ago":    "1 hour ago",
	"time.hours_ago":   "{count} hours ago",
	"time.day_ago":     "1 day ago",
	"time.days_ago":    "{count} days ago",
	"time.minute":      "a minute",
	"time.minutes":     "{count} minutes",
}

// placeholder is a word in braces.
var placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)

// placeholders lists those of a sentence in order.
func placeholders(text string) []string {
	var names []string
	for _, match := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

// ValidateText checks a sentence that is to stand in place of ours: that there is
// such a key, and that it has such placeholders. The errors list what there is.
func ValidateText(key, text string) error {
	ours, ok := english[key]
	if !ok {
		return fmt.Errorf("there is no text %q: want %s", key, list(knownKeys(key)))
	}
	known := placeholders(ours)
	for _, name := range placeholders(text) {
		switch {
		case slices.Contains(known, name):
		case len(known) == 0:
			return fmt.Errorf("the text %s has no placeholder, so {%s} would stay as it is", key, name)
		default:
			return fmt.Errorf("the text %s has no placeholder {%s}: want {%s}", key, name, strings.Join(known, "}, {"))
		}
	}
	return nil
}

// knownKeys are the keys of the page that was meant, or all of them.
func knownKeys(meant string) []string {
	all := slices.Sorted(maps.Keys(english))
	page, _, _ := strings.Cut(meant, ".")
	of := slices.DeleteFunc(slices.Clone(all), func(key string) bool { return !strings.HasPrefix(key, page+".") })
	if len(of) > 0 {
		return of
	}
	return all
}

func list(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// text returns the sentence of a key with its placeholders replaced: the first
// one of the English sentence by the first argument, and so on.
func (s *Set) text(key string, args ...any) (string, error) {
	ours, ok := english[key]
	if !ok {
		return "", fmt.Errorf("there is no text %q", key)
	}
	names := placeholders(ours)
	if len(args) != len(names) {
		return "", fmt.Errorf("the text %s takes %d values, not %d", key, len(names), len(args))
	}
	text, ok := s.texts[key]
	if !ok {
		text = ours
	}
	if len(names) == 0 {
		return text, nil
	}
	return placeholder.ReplaceAllStringFunc(text, func(match string) string {
		return fmt.Sprint(args[slices.Index(names, match[1:len(match)-1])]) // checked by ValidateText
	}), nil
}

// Text returns the sentence of a key, as the pages say it. A key that is none is
// a mistake of the caller, and comes out as itself.
func (s *Set) Text(key string, args ...any) string {
	text, err := s.text(key, args...)
	if err != nil {
		return key
	}
	return text
}
