package returnurl

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	whatwg "github.com/nlnwa/whatwg-url/url"
	"golang.org/x/net/publicsuffix"
)

// Policy decides where a browser may be redirected.
type Policy struct {
	// fallback is where to go when the client names nothing: an absolute URL, or
	// a path on the host of the request.
	fallback string
	// allowed are the places on other hosts, and entries what they were written as.
	allowed []allowedURL
	entries []string
	// last is the default URL as it was made absolute last. A server has few bases,
	// most often one.
	last atomic.Pointer[absoluteDefault]
}

// absoluteDefault is the default URL for requests of one base.
type absoluteDefault struct{ base, location string }

// allowedURL is an entry of the allow-list, normalised.
type allowedURL struct {
	scheme string
	// host is the host in ASCII; for a wildcard all of it behind the asterisk,
	// beginning with the dot.
	host string
	// port is empty for the default port of the scheme.
	port     string
	wildcard bool
	// path has no slash at its end, so that it is empty if every path is allowed.
	path string
}

// New reads the default URL, a path like /goodbye or an absolute URL
// ("/" if empty), and the allow-list. The error names the entry that is bad and
// says why.
func New(defaultURL string, allowed []string) (*Policy, error) {
	fallback, err := ParseDefault(defaultURL)
	if err != nil {
		return nil, fmt.Errorf("default return URL %q: %w", defaultURL, err)
	}
	u := &Policy{fallback: fallback, allowed: make([]allowedURL, 0, len(allowed)), entries: allowed}
	for i, raw := range allowed {
		entry, err := parseAllowed(raw)
		if err != nil {
			return nil, fmt.Errorf("allowed return URL %d, %q: %w", i+1, raw, err)
		}
		u.allowed = append(u.allowed, entry)
	}
	return u, nil
}

// Check returns the absolute URL to send a browser to that asked for raw:
// parsed as browsers parse (WHATWG URL Standard), normalised, and written anew,
// so that the browser reads what was checked. A relative raw is resolved against
// base, the scheme://host[:port] of the request as Caddy trusts it; an empty one
// stands for the default URL. The error is ErrMalformed or
// ErrForbidden; for an empty raw there is none.
func (u *Policy) Check(raw, base string) (location string, err error) {
	if raw == "" {
		return u.resolveDefault(base), nil
	}
	own := parseBase(base)
	candidate, err := parse(raw, own)
	if err != nil {
		return "", err
	}
	location = candidate.Href(false)
	if sameOrigin(candidate, own) || location == u.fallback {
		return location, nil
	}
	for i := range u.allowed {
		if u.allowed[i].allows(candidate) {
			return location, nil
		}
	}
	return "", ErrForbidden
}

// resolveDefault makes the default URL absolute. Without a base it stays a path,
// which a browser resolves against what it asked for.
func (u *Policy) resolveDefault(base string) string {
	if !strings.HasPrefix(u.fallback, "/") {
		return u.fallback
	}
	if last := u.last.Load(); last != nil && last.base == base {
		return last.location
	}
	own := parseBase(base)
	if own == nil {
		return u.fallback
	}
	location := own.Protocol() + "//" + own.Host() + u.fallback
	u.last.Store(&absoluteDefault{base, location})
	return location
}

// parseBase reads the base of a request. One that cannot be read (a strange Host
// header) owns nothing, and is nil.
func parseBase(base string) *whatwg.Url {
	own, err := parse(base, nil)
	if err != nil {
		return nil
	}
	return own
}

// sameOrigin reports whether both have one scheme, host and port. The parser
// drops default ports.
func sameOrigin(a, b *whatwg.Url) bool {
	return a != nil && b != nil && a.Scheme() == b.Scheme() && a.Hostname() == b.Hostname() && a.Port() == b.Port()
}

// allows reports whether the entry covers a parsed URL: the scheme, the port, the
// host by whole labels, the path by whole segments.
func (a *allowedURL) allows(candidate *whatwg.Url) bool {
	if a.scheme != candidate.Scheme() || a.port != candidate.Port() {
		return false
	}
	host := candidate.Hostname()
	if a.wildcard {
		// host has no empty label, so what is in front of the dot is whole labels.
		if len(host) <= len(a.host) || !strings.HasSuffix(host, a.host) {
			return false
		}
	} else if host != a.host {
		return false
	}
	if a.path == "" {
		return true
	}
	path := candidate.Pathname()
	if path != a.path && !strings.HasPrefix(path, a.path+"/") {
		return false
	}
	return !ambiguousPath(path)
}

// ambiguousPath reports whether servers disagree about which path this is, so
// that it may lead out of the entry it seems to lie in: %2f and %5c, which some
// decode before they resolve "..", and the path parameters of servlet containers
// (/foo/..;/admin), and control characters, at which some cut.
func ambiguousPath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		decoded, err := url.PathUnescape(segment)
		if err != nil || strings.ContainsAny(decoded, `/\`) || strings.ContainsFunc(decoded, unicode.IsControl) {
			return true
		}
		name, _, _ := strings.Cut(decoded, ";")
		if name == ".." || (name == "." && name != decoded) {
			return true
		}
	}
	return false
}

// parse parses raw as a browser would whose page is base, which may be
// nil, and refuses what a browser would take but another reader would take for
// something else: control characters, backslashes, user info, https:host.
func parse(raw string, base *whatwg.Url) (*whatwg.Url, error) {
	if len(raw) > MaxLength {
		return nil, ErrLength
	}
	if raw == "" || !utf8.ValidString(raw) ||
		strings.Contains(raw, `\`) || strings.ContainsFunc(raw, unicode.IsControl) ||
		strings.TrimSpace(raw) != raw {
		return nil, ErrCharacters
	}
	authority, relative, ok := splitAuthority(raw)
	if !ok {
		return nil, ErrScheme
	}
	if relative && base == nil {
		return nil, ErrMalformed
	}
	var parsed *whatwg.Url
	var err error
	if base != nil {
		parsed, err = base.Parse(raw)
	} else {
		parsed, err = whatwg.Parse(raw)
	}
	if err != nil {
		return nil, ErrMalformed
	}
	if !relative && !plainAuthority(authority, parsed) {
		return nil, ErrAuthority
	}
	if !unambiguous(parsed) {
		return nil, ErrMalformed
	}
	return parsed, nil
}

// splitAuthority finds the authority in the text of a URL. ok is false for any
// scheme but http and https, for a scheme without // behind it (which browsers
// read as relative or as absolute, depending on the page), and for an authority
// that is empty (where browsers take the first segment of the path for the host).
func splitAuthority(raw string) (authority string, relative, ok bool) {
	rest := raw
	if scheme, after, found := cutScheme(raw); found {
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", false, false
		}
		if !strings.HasPrefix(after, "//") {
			return "", false, false
		}
		rest = after
	}
	rest, found := strings.CutPrefix(rest, "//")
	if !found {
		return "", true, true
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest, false, rest != ""
}

// cutScheme splits a scheme off, as the URL Standard and RFC 3986, section 3.1,
// write it.
func cutScheme(raw string) (scheme, after string, found bool) {
	for i := range len(raw) {
		switch c := raw[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return raw[:i], raw[i+1:], true
		default:
			return "", "", false
		}
	}
	return "", "", false
}

// plainAuthority refuses authorities that readers are known to disagree about:
// user info, percent-encoding (also that of an IPv6 zone), spaces, brackets
// anywhere but around an IPv6 address, numbers that are IPv4 addresses to some
// only, and other letters in a name of Punycode.
func plainAuthority(authority string, parsed *whatwg.Url) bool {
	if strings.ContainsAny(authority, "@% ") {
		return false
	}
	if strings.HasPrefix(authority, "[") {
		inside, port, found := strings.Cut(authority[1:], "]")
		return found && onlyBytes(inside, "0123456789abcdefABCDEF:.") && (port == "" || port[0] == ':')
	}
	host, _, _ := strings.Cut(authority, ":")
	if strings.ContainsAny(host, "[]") {
		return false
	}
	// A name that is written in ASCII already, and yet is not: browsers refuse it.
	if !onlyASCII(host) && strings.Contains(strings.ToLower(host), "xn--") {
		return false
	}
	return !parsed.IsIPv4() || onlyBytes(host, "0123456789abcdefABCDEFxX.")
}

// unambiguous checks what the parser made: that it is a URL of ours to give out,
// that it says the same when it is read again, and that another parser (net/url,
// RFC 3986) finds the same host in it.
func unambiguous(parsed *whatwg.Url) bool {
	if scheme := parsed.Scheme(); scheme != "http" && scheme != "https" {
		return false
	}
	if parsed.Username() != "" || parsed.Password() != "" || !plainHost(parsed.Hostname()) {
		return false
	}
	// A path that begins with // is another host as soon as someone cuts the
	// origin off.
	if strings.HasPrefix(parsed.Pathname(), "//") {
		return false
	}
	href := parsed.Href(false)
	if len(href) > MaxLength {
		return false
	}
	again, err := whatwg.Parse(href)
	if err != nil || again.Href(false) != href || !sameOrigin(again, parsed) {
		return false
	}
	other, err := url.Parse(href)
	return err == nil && other.User == nil && other.Scheme == parsed.Scheme() && other.Host == parsed.Host()
}

// plainHost reports whether a normalised host is an IPv6 address in brackets, or
// made of labels of letters, digits, hyphens and underscores, none of them empty
// but for a dot at the end.
func plainHost(host string) bool {
	if inside, found := strings.CutPrefix(host, "["); found {
		inside, found = strings.CutSuffix(inside, "]")
		return found && inside != "" && onlyBytes(inside, "0123456789abcdef:")
	}
	return host != "" && host[0] != '.' && !strings.Contains(host, "..") &&
		onlyBytes(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.")
}

func onlyASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf })
}

func onlyBytes(s, set string) bool { return strings.Trim(s, set) == "" }

// ParseDefault normalises the default URL.
func ParseDefault(raw string) (string, error) {
	if raw == "" {
		return "/", nil
	}
	_, relative, ok := splitAuthority(raw)
	if !ok || strings.HasPrefix(raw, "//") || (relative && raw[0] != '/') {
		return "", errors.New("want a path like /goodbye, or an absolute http or https URL")
	}
	base, err := whatwg.Parse("http://localhost")
	if err != nil {
		return "", err
	}
	parsed, err := parse(raw, base)
	if err != nil {
		return "", errors.New("not a URL that every browser and server reads alike")
	}
	if relative {
		return strings.TrimPrefix(parsed.Href(false), "http://localhost"), nil
	}
	return parsed.Href(false), nil
}

// parseAllowed reads an entry of the allow-list.
func parseAllowed(raw string) (allowedURL, error) {
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		return allowedURL{}, errors.New("paths on the site's own host are always allowed: leave it out")
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return allowedURL{}, errors.New("want an absolute URL, such as https://app.example.com")
	}
	if strings.ContainsAny(raw, "?#") {
		return allowedURL{}, errors.New("an entry has no query and no fragment: any are allowed")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(authority, "@") {
		return allowedURL{}, errors.New("an entry has no user info")
	}
	if strings.Contains(path, "*") {
		return allowedURL{}, errors.New("a path allows all that is below it: leave the asterisk out")
	}
	authority, wildcard := strings.CutPrefix(authority, "*.")
	if strings.Contains(authority, "*") {
		return allowedURL{}, errors.New("an asterisk stands for whole labels in front of a domain, as in https://*.example.com")
	}
	parsed, err := parse(scheme+"://"+authority+"/"+path, nil)
	if err != nil {
		return allowedURL{}, errors.New("not an http or https URL that every browser and server reads alike")
	}
	entry := allowedURL{
		scheme: parsed.Scheme(),
		host:   parsed.Hostname(),
		port:   parsed.Port(),
		path:   strings.TrimRight(parsed.Pathname(), "/"),
	}
	if ambiguousPath(entry.path) {
		return allowedURL{}, errors.New("an encoded slash, backslash or control character, or a dot segment with parameters: servers disagree about such a path")
	}
	if wildcard {
		if err := checkWildcard(parsed); err != nil {
			return allowedURL{}, err
		}
		entry.wildcard, entry.host = true, "."+entry.host
	}
	return entry, nil
}

// ValidateAllowed says what is wrong with an entry of the allow-list, or nil.
func ValidateAllowed(raw string) error {
	_, err := parseAllowed(raw)
	return err
}

// checkWildcard refuses wildcards under which strangers can have a name: those
// directly below a public suffix (publicsuffix.org, with its private part, where
// anyone can register at a hosting service).
func checkWildcard(parsed *whatwg.Url) error {
	host := parsed.Hostname()
	if parsed.IsIPv4() || parsed.IsIPv6() || strings.HasSuffix(host, ".") {
		return errors.New("an asterisk stands in front of a domain name, not of an address or a name that ends in a dot")
	}
	if suffix, _ := publicsuffix.PublicSuffix(host); suffix == host {
		return fmt.Errorf("anyone can have a name below the public suffix %q: put a domain of yours behind the asterisk", host)
	}
	return nil
}

// Origin returns scheme://host[:port] of a URL, normalised as browsers do.
func Origin(raw string) (string, bool) {
	authority, relative, ok := splitAuthority(raw)
	if !ok || relative {
		return "", false
	}
	// Only the origin is judged: a Referer may have any path.
	end := strings.Index(raw, "//") + len("//") + len(authority)
	parsed, err := parse(raw[:end], nil)
	if err != nil {
		return "", false
	}
	return parsed.Protocol() + "//" + parsed.Host(), true
}
