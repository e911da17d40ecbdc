package httpx

import "net/http"

// HeaderSet is a set of header names in which those are one that a backend may
// fold into one: CGI, WSGI and PHP hand X-User-Id, x_user_id and X.User.Id to an
// app under the same name, and lighttpd X!User!Id as well. It is immutable once made.
type HeaderSet struct {
	// folded holds the names as foldHeader writes them.
	folded map[string]struct{}
	// lengths has a bit for the length of each of them in bytes, the last one for
	// all that are longer: most names of a request are not looked at any further.
	lengths uint64
}

// maxHeaderName bounds what is folded on the stack, in bytes. A longer name is
// folded on the heap, and only if the set holds a long one.
const maxHeaderName = 128

// NewHeaderSet makes a set of the names.
func NewHeaderSet(names ...string) *HeaderSet {
	s := &HeaderSet{folded: make(map[string]struct{}, len(names))}
	for _, name := range names {
		s.folded[string(foldHeader(nil, name))] = struct{}{}
		s.lengths |= 1 << min(len(name), 63)
	}
	return s
}

// Contains reports whether the set holds name, in whatever spelling.
func (s *HeaderSet) Contains(name string) bool {
	if s.lengths&(1<<min(len(name), 63)) == 0 {
		return false
	}
	var b [maxHeaderName]byte
	_, found := s.folded[string(foldHeader(b[:0], name))]
	return found
}

// foldHeader appends name to dst in lower case with a hyphen for all that is
// neither a letter nor a digit.
func foldHeader(dst []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		default:
			c = '-'
		}
		dst = append(dst, c)
	}
	return dst
}

// Foldable reports whether a backend may fold name into one with hyphens that it
// is not.
func Foldable(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return true
		}
	}
	return false
}

// DeleteFrom deletes the names from h in all spellings. It is for requests of
// everyone, anonymous ones too: what is not set afterwards must not be there.
func (s *HeaderSet) DeleteFrom(h http.Header) {
	for name := range h {
		if s.Contains(name) {
			delete(h, name)
		}
	}
}

// connectionProtected are the names that no client may nominate, besides those
// of a set: without them a request would pass as an anonymous one.
var connectionProtected = NewHeaderSet("Cookie", "Authorization")

// CutConnection takes the names of the set, and Cookie and Authorization, out of
// the Connection header: a proxy deletes every header that is nominated there
// (RFC 9110, section 7.6.1) after our handler ran, so a client could take away
// what we set for the app. All other options stay as they came.
func (s *HeaderSet) CutConnection(h http.Header) {
	lines, cut := CutElements(h["Connection"], ',', func(option string) bool {
		option = TrimBlanks(option)
		return option != "" && (s.Contains(option) || connectionProtected.Contains(option))
	})
	if cut {
		SetLines(h, "Connection", lines)
	}
}
