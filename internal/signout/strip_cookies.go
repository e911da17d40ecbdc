package signout

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/web"
)

// Limits of what one answer deletes.
const (
	// MaxStripped bounds the names that are taken from a request, by a glob or
	// as chunks.
	MaxStripped = 32
	// MaxStrippedName bounds the length of such a name in bytes: each goes out
	// many times.
	MaxStrippedName = 256
	// MaxVariants bounds the pairs of domain and path of one cookie.
	MaxVariants = 16
)

// siteDataTypes are the types of Clear-Site-Data that can be configured
// (W3C Clear Site Data, section 3.1).
var siteDataTypes = []string{"cache", "cookies", "storage"}

// StripCookies names cookies of an app that are deleted at each logout: as
// host-only and for each domain, for each path, partitioned or not.
type StripCookies struct {
	// Names of cookies. With * it is a glob, and stands for the cookies that
	// came with the request. Chunks of a name (name_0, name.1, nameC2) that
	// came with the request, and its __Host- and __Secure- relatives, go too.
	Names []string `json:"names"`
	// Domains under which the app may have set them, besides none.
	Domains []string `json:"domains,omitempty"`
	// Paths under which the app may have set them, besides /.
	Paths []string `json:"paths,omitempty"`
}

// Validate says what is wrong with the names, domains and paths, or nil.
func (s *StripCookies) Validate() error {
	if len(s.Names) == 0 {
		return errors.New("want the name of a cookie")
	}
	for _, name := range s.Names {
		if plain := strings.ReplaceAll(name, "*", "x"); !httpguts.ValidHeaderFieldName(plain) {
			return fmt.Errorf("%q is not the name of a cookie, nor a glob with *", name)
		}
	}
	for _, domain := range s.Domains {
		if domain == "" || strings.ContainsAny(domain, "/:;,* ") || strings.HasSuffix(domain, ".") {
			return fmt.Errorf("domain: %q: want a host name alone", domain)
		}
	}
	for _, p := range s.Paths {
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, ";,\x00\r\n ") {
			return fmt.Errorf("path: %q: want a path that starts with /", p)
		}
	}
	if (len(s.Domains)+1)*(len(s.Paths)+1) > MaxVariants {
		return fmt.Errorf("at most %d pairs of domain and path, with none and / counted in", MaxVariants)
	}
	return nil
}

// matches reports whether the cookie of this name is one of them.
func (s *StripCookies) matches(name string) bool {
	bare := name
	for _, prefix := range []string{web.HostPrefix, web.SecurePrefix} {
		if web.HasPrefixFold(name, prefix) {
			bare = name[len(prefix):]
		}
	}
	return slices.ContainsFunc(s.Names, func(pattern string) bool {
		if strings.Contains(pattern, "*") {
			ok, _ := path.Match(pattern, name) // only * is special: see validate
			return ok
		}
		return name == pattern || bare == pattern || isChunk(name, pattern) || isChunk(bare, pattern)
	})
}

// isChunk reports whether a name is that of a part of a cookie too large for
// one: name_0, name.0, name-0 (proxies and JavaScript frameworks), nameC1
// (ASP.NET).
func isChunk(name, whole string) bool {
	part, ok := strings.CutPrefix(name, whole)
	return ok && len(part) >= 2 && len(part) <= 4 && strings.ContainsRune("_.-C", rune(part[0])) && strings.Trim(part[1:], "0123456789") == ""
}

// SetsStripped reports whether a Set-Cookie line sets one of the cookies. One
// that deletes it may go through: the app knows best where it has set it.
func (l *AppLogout) SetsStripped(line string) bool {
	name := web.SetCookieName(line)
	if !slices.ContainsFunc(l.StripCookies, func(s StripCookies) bool { return s.matches(name) }) {
		return false
	}
	cookie, err := http.ParseSetCookie(line)
	if err != nil {
		return true
	}
	return cookie.MaxAge >= 0 && (cookie.MaxAge > 0 || cookie.Expires.IsZero() || cookie.Expires.After(time.Now()))
}

// hasStripped reports whether one of the cookies came with the request.
func (l *AppLogout) hasStripped(r *http.Request) bool {
	for name := range cookieNames(r.Header) {
		if slices.ContainsFunc(l.StripCookies, func(s StripCookies) bool { return s.matches(name) }) {
			return true
		}
	}
	return false
}

// cleanBrowser has the browser forget, after a logout, what it is to forget.
func (l *Handler) cleanBrowser(h http.Header, r *http.Request) {
	l.DeleteStripped(h, r)
	// Browsers heed it on HTTPS alone (section 4.1 of the same).
	if len(l.ClearSiteData) > 0 && strings.HasPrefix(l.Site.SiteOrigin(r), "https://") {
		h.Add("Clear-Site-Data", `"`+strings.Join(l.ClearSiteData, `", "`)+`"`)
	}
}

// DeleteStripped adds the lines that delete the cookies.
func (l *Handler) DeleteStripped(h http.Header, r *http.Request) {
	secure := strings.HasPrefix(l.Site.SiteOrigin(r), "https://")
	found := 0
	for i := range l.StripCookies {
		s := &l.StripCookies[i]
		var names []string
		for _, name := range s.Names {
			if !strings.Contains(name, "*") && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		for name := range cookieNames(r.Header) {
			if found < MaxStripped && !slices.Contains(names, name) && s.matches(name) && !l.Site.IsOwnCookie(name) && plainCookieName(name) {
				names = append(names, name)
				found++
			}
		}
		for _, name := range names {
			for line := range s.deletions(name, secure) {
				h.Add("Set-Cookie", line)
			}
		}
	}
}

// deletions yields the lines that delete one cookie. A browser takes a cookie of
// another domain, path or partition for another cookie (RFC 6265, section 5.3;
// CHIPS, section 2), and refuses what the prefix of the name forbids (RFC
// 6265bis, section 4.1.3), and Secure, without which there is no partition, from
// a page without HTTPS.
func (s *StripCookies) deletions(name string, secure bool) iter.Seq[string] {
	domains, paths := append([]string{""}, s.Domains...), append([]string{"/"}, s.Paths...)
	switch {
	case web.HasPrefixFold(name, web.HostPrefix):
		domains, paths, secure = domains[:1], paths[:1], true
	case web.HasPrefixFold(name, web.SecurePrefix):
		secure = true
	}
	return func(yield func(string) bool) {
		for _, domain := range domains {
			for i, cookiePath := range paths {
				if slices.Contains(paths[:i], cookiePath) {
					continue
				}
				line := name + "=; Path=" + cookiePath
				if domain != "" {
					line += "; Domain=" + domain
				}
				line += "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly"
				if !secure {
					if !yield(line) {
						return
					}
					continue
				}
				if !yield(line+"; Secure") || !yield(line+"; Secure; SameSite=None; Partitioned") {
					return
				}
			}
		}
	}
}

// cookieNames yields the names of the cookies of a request.
func cookieNames(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range h["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if name, _ := httpx.SplitCookie(pair); name != "" && !yield(name) {
					return
				}
			}
		}
	}
}

// plainCookieName refuses names that cannot be written into a Set-Cookie line as
// they came, or that are too long for it. Brackets, as PHP has them, can.
func plainCookieName(name string) bool {
	return len(name) <= MaxStrippedName && !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`;,="\`, c) })
}
