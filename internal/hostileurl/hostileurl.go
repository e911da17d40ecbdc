// Package hostileurl holds strings that are meant to lead a browser out of where
// it may be sent: some written by hand, and any number made by a grammar.
package hostileurl

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// Generator makes strings by a grammar of what URLs are made of and of what has
// fooled readers of them. Equal seeds make equal strings.
type Generator struct{ rand *rand.Rand }

// New returns a generator.
func New(seed uint64) *Generator { return &Generator{rand.New(rand.NewPCG(seed, seed))} } //nolint:gosec // the same strings again, from the same seed

// words are what one part of a string is made of: what is good there, and tricks.
type words struct{ plain, tricks []string }

// The words of the grammar. Most strings have few tricks in them: with many, one
// hides what another would do.
var (
	schemes = words{
		[]string{"https:", "https:", "https:", "http:", ""},
		[]string{
			"", "HTTPS:", "hTTp:", "https", "http", "javascript:", "data:text/html,", "blob:https:", "file:", "ftp:", "ws:", "wss:", "mailto:", "view-source:https:", "about:", "x+y-z.1:", "httpss:", "1http:", ":", "://",
			"\thttps:", "ht\ntps:", "https\r:", "\x01https:", "https\x00:", "ｈttps:", "https：", "%68ttps:", "java\tscript:", "?", "#", "/x?", "x#",
		},
	}
	slashes = words{
		[]string{"//"},
		[]string{
			"/", "", "///", "////", "\\", "\\\\", "/\\", "\\/", "//\\", "/\t/", "/\n/", "\t//", "//\r", "/\x00/",
			"%2f%2f", "/%2f", "/%5c", "/%09/", "／／", "/／", "/./", "/.//", "/..//", "./", "../", "..//", ".//", "?//", "#//", "/?//", "/@",
		},
	}
	users = words{
		[]string{""},
		[]string{
			"app.example@", "allowed.example@", "allowed.example:443@", "user:pw@", "@", ":@", "a@b@", "allowed.example%40",
			"allowed.example＠", "allowed.example\\@", "allowed.example/@", "allowed.example#@", "allowed.example?@", "allowed.example;@", "allowed.example%2f@", "allowed.example%00@",
		},
	}
	hosts = words{
		[]string{"app.example", "app.example", "allowed.example", "allowed.example", "a.wild.example", "b.a.wild.example", "path.example", "path.example", "localhost:3000", "192.0.2.1", "[2001:db8::1]", "192.0.2.7:8080", "[2001:db8::7]:8080"},
		[]string{
			"evil.example", "evil.example", "evil.example", "evil.example", "evil.example", "evil.example", "wild.example", "wild.example.evil.example", "evilwild.example", "198.51.100.9", "[2001:db8::666]", "localhost", "", ".", "..", "*", "example",
			"xn--a", "xn--80ak6aa92e.example", "xn--llowed-2nf.wild.example", "faß.wild.example", "аllowed.example", "[::ffff:192.0.2.1]", "[::1%25eth0]", "[v1.x]",
		},
	}
	ports = words{
		[]string{"", "", "", "", "", "", ":443", ":80", ":8080", ":3000"},
		[]string{":0443", ":", ":0", ":65536", ":4294967739", ":-443", ":+443", ":443:443", ":0x1bb", ":４４３", ":443@evil.example", ":443.evil.example", ": 443", ":44\t3", ":443evil"},
	}
	paths = words{
		[]string{"", "/", "/foo", "/foo", "/foo/", "/foo/bar", "/foobar", "/foo/../bar", "/é/ü", "/a b"},
		[]string{
			"/foo/%2e%2e/bar", "/foo/.%2E/bar", "/foo/..%2fbar", "/foo/..%5cbar", "/foo/..;/bar", "/foo/..;x=1/bar", "/foo/..%3b/bar", "/foo/..%00/", "/foo/..\\bar", "/foo/\t../bar", "//foo", "/./foo",
			"//evil.example", "/.//evil.example", "/..//evil.example", "/%2e//evil.example", "/%2e%2e//evil.example", "/x/..//evil.example", "/\\evil.example", "/%5cevil.example", "/%2fevil.example", "/@evil.example", "/https://evil.example",
			".evil.example", "@evil.example", "\\@evil.example", "/%e4%bd%a0", "/%zz", "/%", "/%u002e", "/a%20b", "/\u0085", "/\u2028", "/foo%2f..%2f..", "/foo/．．/bar", "/%c0%ae%c0%ae/", "/\xc0\xae\xc0\xae/",
		},
	}
	tails = words{
		[]string{"", "", "", "?", "?a=b", "?a=b&c=%2f", "#", "#x", "?a#b?c"},
		[]string{
			"?//evil.example", "?@evil.example", "?x=https://evil.example", "?é", "?%ff", "?\t", "#//evil.example", "#@evil.example", "#é", "#a\nb",
			" ", "\t", "\n", "\x00", "\x7f", "\u00a0", "\ufeff", "\u2028", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\r\nLocation: https://evil.example", "%0d%0aX: 1", "\\", "/", ".",
		},
	}
)

// letters are put anywhere.
var letters = []string{
	"/", "/", "\\", "\t", "\n", "\r", "\x00", "\x01", "\x1f", "\x7f", " ", "@", ":", "?", "#", ";", "%", "%2f", "%5c", "%40", "%2e", "%00", "%0a", "%25", ".", "..", "-", "_", "*", "[", "]", "|", "^", "<", "&", ",", "'", "`",
	"\u00a0", "\u00ad", "\u0085", "\u200b", "\u200d", "\u202e", "\u2028", "\u3000", "\ufeff", "。", "．", "｡", "／", "＼", "＠", "：", "？", "＃", "％", "℀", "℅", "ß", "é", "ı", "K", "ﬀ", "①", "\xff", "\xc0\xaf", "\xe0\x80\xaf",
}

// Next returns the next string.
func (g *Generator) Next() string {
	var out strings.Builder
	tricky := []float64{0.1, 0.1, 0.2, 0.5}[g.rand.IntN(4)]
	for i, of := range []words{schemes, slashes, users, hosts, ports, paths, tails} {
		if g.rand.Float64() >= tricky {
			out.WriteString(g.one(of.plain))
			continue
		}
		word := g.one(of.tricks)
		if host := 3; i == host && g.rand.IntN(2) == 0 {
			word = g.host()
		}
		out.WriteString(word)
	}
	text := out.String()
	switch g.rand.IntN(24) {
	case 0:
		text = g.one(letters) + text
	case 1:
		text += g.one(letters)
	case 2, 3:
		text = g.insert(text)
	case 4:
		text = g.insert(g.insert(text))
	case 5:
		text = g.without(text)
	case 6:
		text = g.encoded(text)
	case 7:
		// A path of the own site, and what follows.
		text = "/" + strings.TrimLeft(text, "/")
	}
	return text
}

func (g *Generator) one(of []string) string { return of[g.rand.IntN(len(of))] }

// host returns a host, often in other words than a person would write.
func (g *Generator) host() string {
	host := g.one(hosts.plain)
	switch g.rand.IntN(13) {
	case 0:
		return strings.ToUpper(host)
	case 1:
		return host + "."
	case 2:
		return "." + host
	case 3:
		return strings.ReplaceAll(host, ".", g.one([]string{"。", "．", "｡", "%2e", "..", "%E3%80%82"}))
	case 4:
		return wide(host)
	case 5:
		return g.encoded(host)
	case 6:
		return g.insert(host)
	case 7:
		return host + g.one([]string{".evil.example", "evil.example", "-evil.example", "%00.evil.example", "\x00.evil.example", "\u00ad", "%2f.evil.example", "／evil.example"})
	case 8:
		return g.one([]string{"evil.example", "evil", "evil.example/", "evil.example#", "evil.example?", "evil.example\\", "evil.example%23", "evil.example／"}) + "." + host
	case 9, 10, 11:
		return g.ipv4()
	default:
		return g.one([]string{"[2001:DB8:0:0::1]", "[2001:db8::0.0.0.1]", "[2001:db8::1", "2001:db8::1", "[2001:db8::1]x", "[2001:db8::00001]", "[[2001:db8::1]]", "[2001:db8::1%eth0]", "[0:0:0:0:0:ffff:c000:0201]", "[::192.0.2.1]", "[]"})
	}
}

// ipv4 returns an address, one of them allowed, as old parsers take it: in other
// bases, and with fewer parts than four.
func (g *Generator) ipv4() string {
	address := []uint32{0xc0000201, 0xc0000201, 0xc6336409, 0x7f000001}[g.rand.IntN(4)]
	parts := 1 + g.rand.IntN(4)
	var out []string
	for i := range parts {
		value := address >> (24 - 8*i) & 0xff
		if i == parts-1 {
			value = address & (1<<(32-8*i) - 1)
		}
		out = append(out, fmt.Sprintf([]string{"%d", "%d", "0x%x", "0X%X", "0%o", "00%o"}[g.rand.IntN(6)], value))
	}
	return strings.Join(out, ".") + g.one([]string{"", "", "", ".", "..", "_", ".x"})
}

// wide writes a host in full-width letters, which a browser folds.
func wide(host string) string {
	return strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7f && c != '.' && c != ':' && c != '[' && c != ']' {
			return c + 0xfee0
		}
		return c
	}, host)
}

// insert puts something between two letters.
func (g *Generator) insert(text string) string {
	at := g.rand.IntN(len(text) + 1)
	for at < len(text) && !utf8.RuneStart(text[at]) {
		at++
	}
	return text[:at] + g.one(letters) + text[at:]
}

// without takes a byte away.
func (g *Generator) without(text string) string {
	if text == "" {
		return text
	}
	at := g.rand.IntN(len(text))
	return text[:at] + text[at+1:]
}

// encoded writes a byte in percent-encoding.
func (g *Generator) encoded(text string) string {
	if text == "" {
		return text
	}
	at := g.rand.IntN(len(text))
	return fmt.Sprintf("%s%%%02x%s", text[:at], text[at], text[at+1:])
}
