package httpx

import (
	"iter"
	"net/http"
	"strings"
)

// CutCookies removes every cookie whose name matches from the Cookie header, and
// reports whether there was one. All other pairs keep their bytes, malformed ones
// too; a line with no pair left is dropped, and so is the header with no line
// left. Lines are replaced and never changed in place, so that a shallow copy of
// h keeps what it had.
//
// Names compare as they stand, with their case (RFC 6265, section 5.4). Backends
// read further names into a header: PHP takes ory.kratos_session and
// ory%5Fkratos_session for ory_kratos_session, and some split at commas. We read
// no session from such a pair, so there is none of ours in it to hide.
func CutCookies(h http.Header, match func(name string) bool) bool {
	lines, cut := CutElements(h["Cookie"], ';', func(pair string) bool {
		name, _ := SplitCookie(pair)
		return match(name)
	})
	if cut {
		SetLines(h, "Cookie", lines)
	}
	return cut
}

// CookieValues yields the value of every cookie called name, over all Cookie
// lines (HTTP/1 may carry several), in their order, without spaces around it and
// without one pair of double quotes. A cookie that a sibling domain has set comes
// under the same name, so callers look at all of them.
func CookieValues(h http.Header, name string) iter.Seq[string] {
	return func(yield func(string) bool) { yieldCookies(h["Cookie"], name, yield) }
}

func yieldCookies(lines []string, name string, yield func(string) bool) {
	for _, line := range lines {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			have, value := SplitCookie(pair)
			if have == name && !yield(value) {
				return
			}
		}
	}
}

// SplitCookie reads one pair. The name is what stands before the first equals
// sign; without one it is empty, since browsers send a nameless cookie as its
// bare value.
func SplitCookie(pair string) (name, value string) {
	name, value, found := strings.Cut(pair, "=")
	if !found {
		name, value = "", name
	}
	value = strings.Trim(value, " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return strings.Trim(name, " \t"), value
}

// CutElements removes the elements that cut chooses from lines of elements, and
// the separators that go with them. It allocates nothing, and returns lines
// itself, when there are none.
func CutElements(lines []string, separator byte, cut func(element string) bool) (kept []string, found bool) {
	for i, line := range lines {
		short, changed := cutFromLine(line, separator, cut)
		if changed && !found {
			found = true
			kept = append(make([]string, 0, len(lines)), lines[:i]...)
		}
		if found && (!changed || short != "") {
			kept = append(kept, short)
		}
	}
	if !found {
		return lines, false
	}
	return kept, true
}

// cutFromLine does it for one line. What is left of it is empty if it holds no
// element any more.
func cutFromLine(line string, separator byte, cut func(element string) bool) (string, bool) {
	var out strings.Builder
	changed := false
	for start := 0; start <= len(line); {
		end := strings.IndexByte(line[start:], separator)
		if end < 0 {
			end = len(line)
		} else {
			end += start
		}
		switch element := line[start:end]; {
		case cut(element):
			if !changed {
				changed = true
				if start > 0 {
					out.Grow(len(line))
					out.WriteString(line[:start-1])
				}
			}
		case !changed:
		case out.Len() == 0:
			// It is the first one now: the space behind the separator goes with it.
			out.Grow(len(line) - start)
			out.WriteString(strings.TrimLeft(element, " \t"))
		default:
			out.WriteByte(separator)
			out.WriteString(element)
		}
		start = end + 1
	}
	if !changed {
		return line, false
	}
	rest := out.String()
	if strings.Trim(rest, " \t"+string(separator)) == "" {
		return "", true
	}
	return rest, true
}

// SetLines replaces a header's lines, or deletes it when there are none.
func SetLines(h http.Header, name string, lines []string) {
	if len(lines) == 0 {
		delete(h, name)
		return
	}
	h[name] = lines
}
