package httpx

import (
	"net/http"
	"strings"
)

// CutLookalikes removes the cookies that some app reads as a cookie called name:
// PHP takes . and [ and a space for _, and name[x] for an array; Python's
// SimpleCookie begins a new cookie after a space; several trim more than RFC 6265
// calls a blank. We read no session from them, and an app that trusts what it finds
// under the name of our cookie must not find what we have not looked at. All else
// keeps its bytes.
func CutLookalikes(h http.Header, name string) {
	word := longestWord(name)
	for _, line := range h["Cookie"] {
		if !strings.Contains(line, word) {
			continue
		}
		lines, cut := CutElements(h["Cookie"], ';', func(pair string) bool { return looksLike(pair, name) })
		if cut {
			SetLines(h, "Cookie", lines)
		}
		return
	}
}

// longestWord returns the longest part of a name that no app writes otherwise.
func longestWord(name string) string {
	longest := ""
	for name != "" {
		var word string
		if i := strings.IndexByte(name, '_'); i >= 0 {
			word, name = name[:i], name[i+1:]
		} else {
			word, name = name, ""
		}
		if len(word) > len(longest) {
			longest = word
		}
	}
	return longest
}

// looksLike reports whether a pair has a cookie in it that may be read as one
// called name.
func looksLike(pair, name string) bool {
	for i := 0; i+len(name) < len(pair); i++ {
		if (i == 0 || separates(pair[i-1])) && sameName(pair[i:i+len(name)], name) {
			rest := strings.TrimLeft(pair[i+len(name):], " \t")
			if rest != "" && (rest[0] == '=' || rest[0] == '[') {
				return true
			}
		}
	}
	return false
}

// separates reports whether a cookie may begin behind this byte: a blank, what some
// take for one (bytes of no-break and other spaces), or a comma (RFC 2109).
func separates(c byte) bool { return c <= ' ' || c == ',' || c >= 0x7f }

// sameName reports whether have is name but for signs that PHP makes _ of.
func sameName(have, name string) bool {
	for i := range len(name) {
		if c := have[i]; c != name[i] && (name[i] != '_' || c != '.' && c != ' ' && c != '[') {
			return false
		}
	}
	return true
}
