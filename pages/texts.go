package pages

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// english holds the texts by key. A word in braces is a placeholder; the
// placeholders are in the order of the arguments of [Set.Text].
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
	"login.too_many":         "There were too many failed attempts to sign in. Please wait {wait} and try again.",
	"login.busy":             "Many people are signing in right now. Please try again in a few seconds.",
	"login.method":           "This way to sign in is not supported here.",

	"confirm.title":   "Sign out?",
	"confirm.heading": "Do you want to sign out?",
	"confirm.text":    "A link or another site asked to sign you out. If you did not want this, stay signed in: nothing has changed.",
	"confirm.button":  "Sign out",
	"confirm.stay":    "Stay signed in",

	"signed_out.title":   "Signed out",
	"signed_out.heading": "You are signed out",
	"signed_out.text":    "Your session has ended. Nobody can use it any more, not in this browser, and not with a copy of the cookie.",
	"signed_out.button":  "Sign in again",

	"pending.title":   "Signing out",
	"pending.heading": "You are being signed out",
	"pending.text":    "Our session store is unavailable right now. We have saved your sign-out, and will complete it as soon as the store is back.",
	"pending.device":  "This server does not accept your session any more, but other servers may until then. If this is not your device, also close the browser.",
	"pending.button":  "Back to the app",

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

	"error.title_400": "This link or form is not valid",
	"error.title_401": "You are not signed in",
	"error.title_403": "The request was refused",
	"error.title_404": "Page not found",
	"error.title_410": "This page has expired",
	"error.title_429": "Too many attempts",
	"error.title_500": "Something went wrong",
	"error.title_503": "Temporarily unavailable",
	"error.id":        "Error:",
	"error.button":    "Back to the app",
	"error.sign_in":   "Sign in",

	// The message of an error for people, by the id of the error. If it is empty,
	// the page shows the message for clients.
	"error.internal_error":                        "Something went wrong on our side. Please try again in a few minutes.",
	"error.logout_token_mismatch":                 "This link belongs to another session, so you are still signed in. To sign out, use the link in the app.",
	"error.logout_token_missing":                  "This link is incomplete, so you are still signed in. To sign out, use the link in the app.",
	"error.not_found":                             "",
	"error.request_body_invalid":                  "",
	"error.request_body_too_large":                "",
	"error.request_content_type_unsupported":      "",
	"error.security_csrf_violation":               "",
	"error.self_service_flow_return_to_forbidden": "This link leads to an address that is not allowed here, so nothing was changed. Please use a link in the app.",
	"error.self_service_flow_return_to_invalid":   "The address that this link leads to is not valid, so nothing was changed. Please use a link in the app.",
	"error.session_inactive":                      "Your session has ended, or you have not signed in yet. To sign in, go back to the app.",
	"error.session_store_unavailable":             "We cannot check your session right now. Nothing was changed. Please try again in a few seconds.",
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

// placeholders lists the placeholders of a text in order.
func placeholders(text string) []string {
	var names []string
	for _, match := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

// ValidateText checks a text that is to replace ours: its key and its placeholders
// must exist. The errors list the known ones.
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

// knownKeys returns the keys of the page that the key names, or all keys.
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

// text returns the text of a key with its placeholders replaced: the first
// placeholder of the English text by the first argument, and so on.
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

// Text returns the text of a key, as the pages show it. An unknown key is a mistake
// of the caller, and is returned as it is.
func (s *Set) Text(key string, args ...any) string {
	text, err := s.text(key, args...)
	if err != nil {
		return key
	}
	return text
}
