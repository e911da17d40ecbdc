// This file tests return URLs that are written to lead somewhere else, with Node's URL parser as a second reader.

package caddylogout

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const hostileBase = "https://app.example"

var hostileAllowed = []string{
	"https://allowed.example", "https://path.example/foo", "https://*.wild.example", "http://localhost:3000", "http://192.0.2.1", "https://[2001:db8::1]",
}

// withinAllowed is the allow-list above in other words.
func withinAllowed(scheme, host, path string) bool {
	switch scheme + "://" + host {
	case hostileBase, "https://allowed.example", "http://localhost:3000", "http://192.0.2.1", "https://[2001:db8::1]":
		return true
	case "https://path.example":
		return path == "/foo" || strings.HasPrefix(path, "/foo/")
	}
	label, found := strings.CutSuffix(host, ".wild.example")
	return scheme == "https" && found && label != "" && !slices.Contains(strings.Split(label, "."), "")
}

// hostileReturnURLs are what has opened redirects elsewhere, by trick.
var hostileReturnURLs = []string{
	// No scheme, or half of one.
	"//evil.example", "///evil.example", "////evil.example", "/////evil.example/%2f..", "//evil.example/%2f%2e%2e", "//evil.example\\@allowed.example",
	"/\\evil.example", "\\/evil.example", "\\\\evil.example", "\\evil.example", "/\\/evil.example", "//\\evil.example", "/\\\\evil.example", "\\/\\/evil.example/",
	"https:evil.example", "https:/evil.example", "https:///evil.example", "https:////evil.example", "https:\\\\evil.example", "https:\\/evil.example", "https:/\\evil.example", "https:\\evil.example",
	"http:evil.example", "http:/evil.example", "http:///evil.example", "https://\\evil.example", "https:///\\evil.example", "://evil.example", ":evil.example", "://", ":", "//", "///", "/\\", "https://", "https:", "https:/", "http://?", "https://#", "//?", "//#@allowed.example",
	"https:?//evil.example", "https:#//evil.example", "https:allowed.example", "https:/allowed.example", "https:///allowed.example", "https:.//evil.example", "https:..//evil.example",
	// Other schemes.
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "javascript://allowed.example/%0aalert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", " javascript:alert(1)",
	"data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "mailto:me@allowed.example", "tel:1", "file:///etc/passwd", "file://allowed.example/", "ftp://allowed.example/", "ws://allowed.example/", "wss://allowed.example/", "blob:https://allowed.example/x", "about:blank", "filesystem:https://allowed.example/", "view-source:https://allowed.example", "intent://allowed.example#Intent;scheme=https;end", "httpss://allowed.example", "http+unix://allowed.example", "https-x://allowed.example", "x://allowed.example", "ht\ttps://allowed.example", "localhost:3000/", "allowed.example:443/",
	// User info.
	"https://allowed.example@evil.example", "https://allowed.example:443@evil.example", "https://allowed.example:@evil.example", "https://@evil.example", "https://@allowed.example", "https://:@allowed.example", "https://:pw@allowed.example", "https://user@allowed.example", "https://user:pw@allowed.example", "https://allowed.example%40evil.example", "https://evil.example%40allowed.example", "https://allowed.example@@evil.example", "https://allowed.example\\@evil.example", "https://evil.example\\@allowed.example", "https://allowed.example%2f@evil.example", "https://allowed.example#@evil.example", "https://allowed.example?@evil.example", "https://evil.example#@allowed.example", "https://evil.example?@allowed.example", "https://evil.example?allowed.example", "https://evil.example#allowed.example", "https://evil.example/allowed.example", "https://evil.example;@allowed.example", "https://allowed.example;@evil.example", "https://allowed.example&@evil.example", "//allowed.example@evil.example", "//app.example@evil.example", "https://evil.example＠allowed.example", "https://allowed.example＠evil.example",
	// Control characters, spaces, and what becomes of them.
	"\t//evil.example", "/\t/evil.example", "//\tevil.example", "/\n/evil.example", "/\r/evil.example", "\x00//evil.example", "/\x00/evil.example", " //evil.example", "//evil.example ", "\u00a0//evil.example", "\ufeff//evil.example", "\u200b//evil.example", "\u2028//evil.example", "/\u0085/evil.example", "https://allowed.example\x00.evil.example", "https://evil.example\x00.allowed.example", "https://evil.example%00.allowed.example", "https://allowed.example%00@evil.example", "https://allowed.example%0d%0aX:1", "/x\r\nLocation: https://evil.example", "/x%0d%0aLocation:%20https://evil.example", "https://allowed.example\t.evil.example", "https://allowed.example\n.evil.example", "https://allow\ted.example", "https://allowed.example .evil.example", "https://allowed.example%20.evil.example", "https://allowed.example\x7f.evil.example", "https://allowed.example\u00ad.evil.example", "https://allowed\u00ad.example",
	"/%09/evil.example", "/%0a/evil.example", "/%2f/evil.example", "/%2fevil.example", "/%5cevil.example", "/%5c%5cevil.example", "%2f%2fevil.example", "%5c%5cevil.example", "%09//evil.example",
	// Hosts that begin, end or look like ours.
	"https://allowed.example.evil.example", "https://evil-allowed.example", "https://evilallowed.example", "https://allowed.exampleevil", "https://allowed.example-evil.example", "https://allowed.example_evil.example", "https://allowed.example,evil.example", "https://allowed.example;evil.example", "https://allowed.example!evil.example", "https://allowed.example'evil.example", "https://allowed.example(evil.example)", "https://allowed.example&evil.example", "https://allowed.example=evil.example", "https://allowed.example$evil.example", "https://allowed.example~evil.example", "https://allowed.example+evil.example", "https://allowed.example*evil.example", "https://allowed.example`evil.example", "https://allowed.example{evil.example", "https://allowed.example|evil.example", "https://allowed.example\"evil.example", "https://allowed.example<evil.example", "https://allowed.example^evil.example", "https://allowed.example%evil.example",
	"https://allowed.example.", "https://allowed.example..", "https://.allowed.example", "https://allowed..example", "https://allowed", "https://example", "https://www.allowed.example", "https://allowed.example.:443", "https://app.example.", "//app.example./",
	// Hosts in other characters.
	"https://allowed。example", "https://allowed．example", "https://allowed｡example", "https://allowed。evil.example", "https://ａｌｌｏｗｅｄ.example", "https://ⓐllowed.example", "https://allowed.exampl℮", "https://аllowed.example", "https://xn--llowed-2nf.example", "https://allowed.example／evil.example", "https://allowed.example／.evil.example", "https://allowed.example＃.evil.example", "https://allowed.example？.evil.example", "https://allowed.example＼.evil.example", "https://allowed.example：443", "https://evil.example／.allowed.example", "https://evil.example℀.allowed.example", "https://evil.c℀.wild.example", "https://evil.example／x.wild.example", "https://evil.example％2f.wild.example", "https://faß.wild.example", "https://ﬀ.wild.example", "https://\u202eallowed.example", "https://allowed.example\u200d", "https://xn--.wild.example", "https://xn--a.wild.example", "https://xn--0.allowed.example", "//evil。example", "/／evil.example", "／／evil.example", "https:／／evil.example", "https：//evil.example", "https://alLoweD.EXAMPLE", "https://allowed%2eexample", "https://%61llowed.example", "https://evil.example%2f.wild.example", "https://evil.example%2fwild.example", "https://evil.example%23.wild.example", "https://evil.example%5c.wild.example", "https://evil.example%3f.wild.example", "https://evil%2eexample",
	// Wildcards.
	"https://wild.example", "https://.wild.example", "https://..wild.example", "https://a..wild.example", "https://evilwild.example", "https://-wild.example", "https://a.wild.example.", "https://a.wild.example.evil.example", "https://evil.example/.wild.example", "https://evil.example#.wild.example", "https://evil.example?.wild.example", "https://evil.example:80.wild.example", "https://evil.example:.wild.example", "https://*.wild.example", "http://a.wild.example", "https://a.wild.example:8443", "https://evil.example\\.wild.example", "https://evil.example@.wild.example", "https://1.2.3.4.wild.example", "https://[::1].wild.example", "https://_.wild.example", "https://-.wild.example",
	// Ports.
	"https://allowed.example:444", "https://allowed.example:80", "https://allowed.example:0443", "https://allowed.example:000000443", "https://allowed.example:", "https://allowed.example:0", "https://allowed.example:65979", "https://allowed.example:4294967739", "https://allowed.example:-443", "https://allowed.example:+443", "https://allowed.example:4 43", "https://allowed.example:443:443", "https://allowed.example:443.evil.example", "https://allowed.example:４４３", "https://allowed.example:0x1bb", "https://allowed.example:443@evil.example:443", "http://allowed.example:443", "http://localhost", "http://localhost:3000.evil.example", "http://localhost:3000@evil.example", "http://localhost:03000", "//app.example:444", "//app.example:80", "http://app.example", "http://app.example:443",
	// Addresses.
	"http://192.0.2.1.", "http://192.0.2.1..", "http://192.0.513", "http://3221225985", "http://0xc0000201", "http://0300.0.2.01", "http://0xC0.0x0.0x2.0x1", "http://192.0.2.0x1", "http://192.0.2.1.evil.example", "http://192.0.2.256", "http://192.0.2.-255", "http://192.0.2.+1", "http://192.0.2.1_", "http://192.0.2.08", "http://1.192.0.2.1", "http://192.0.2", "http://192。0。2。1", "http://①⑨②.0.2.1", "http://[::ffff:192.0.2.1]", "http://[192.0.2.1]", "https://[2001:db8::1", "https://2001:db8::1]", "https://2001:db8::1", "https://[2001:db8::1%25eth0]", "https://[2001:db8::1%eth0]", "https://[2001:db8::1]evil.example", "https://[2001:db8::1].evil.example", "https://[2001:db8::1]:443@evil.example", "https://[2001:db8::1]@evil.example", "https://[[2001:db8::1]]", "https://[2001:db8::1]]", "https://[2001:DB8:0:0::1]", "https://[2001:db8::0.0.0.1]", "https://[2001:db8::1]:8443", "https://[::]", "https://[]", "https://[:]", "https://[evil.example]", "https://[v1.2001:db8::1]", "https://evil.example[2001:db8::1]", "https://[2001:db8:::1]", "https://[2001:db8::00001]", "https://[1:2:3:4:5:6:7:8:9]", "https://[1:2:3:4:5:6:7:1.2.3.4]", "https://0", "http://0x", "http://127.1", "http://017700000001",
	// Paths.
	"https://path.example", "https://path.example/", "https://path.example/foobar", "https://path.example/foo/../bar", "https://path.example/foo/..", "https://path.example/foo/.%2e/bar", "https://path.example/foo/%2e%2e/bar", "https://path.example/foo/%2E./bar", "https://path.example/foo/..%2fbar", "https://path.example/foo/..%5cbar", "https://path.example/foo%2f..%2f..", "https://path.example/foo/%2e%2e%2fbar", "https://path.example/foo/..\\bar", "https://path.example/foo\\..\\bar", "https://path.example/foo/..;/bar", "https://path.example/foo/..;x=1/bar", "https://path.example/foo/.;/../../bar", "https://path.example/foo/..%3b/bar", "https://path.example/foo/..%00/bar", "https://path.example/foo/.\t./bar", "https://path.example/foo/..%09/bar", "https://path.example//foo", "https://path.example//foo/..", "https://path.example/./foo/../bar", "https://path.example/FOO", "https://path.example/f%6fo/../bar", "https://path.example/foo?/../bar", "https://path.example/foo#/../bar", "https://path.example/foo;/../bar", "https://path.example/foo//../../bar", "https://path.example/foo/%252e%252e/bar", "https://path.example/foo/．．/bar", "https://path.example?/foo", "https://path.example#/foo", "https://path.example/foo%", "https://path.example/foo/%zz", "https://path.example/foo/%c0%ae%c0%ae/bar", "https://path.example/foo/%u002e%u002e/bar",
	// Ours, and then not.
	"/..//evil.example", "/.//evil.example", "/x/..//evil.example", "/%2e%2e//evil.example", "/%2e//evil.example", "..//evil.example", ".//evil.example", "./..//evil.example", "/x/../\\evil.example", "?//evil.example", "#//evil.example", "/?//evil.example", "/#//evil.example", "/@evil.example", "@evil.example", ".evil.example", "evil.example", "-evil.example", "/https://evil.example", "/javascript:alert(1)", "https://app.example//evil.example", "https://app.example/\\evil.example", "https://app.example/..//evil.example", "//app.example//evil.example", "https://app.example@evil.example", "https://app.example.evil.example", "/redirect?to=https://evil.example", "%68ttps://evil.example", "/%", "%", "/\xff/evil.example", "//evil\xff.example",
}

// nodeURL is what Node says of a pair of a return URL and a location.
type nodeURL struct {
	// Raw is the return URL, resolved against the base; empty if Node refuses it.
	Raw string `json:"raw"`
	// Location is the location, parsed and written anew, and its parts.
	Location string `json:"location"`
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Path     string `json:"path"`
}

const nodeScript = `
const parse = (text, base) => { try { return new URL(text, base) } catch { return {} } };
const { base, pairs } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(pairs.map(([raw, location]) => {
  const to = parse(location);
  return { raw: parse(raw, base).href, location: to.href, protocol: to.protocol, host: to.host, path: to.pathname };
})));`

func askNode(t *testing.T, base string, pairs [][2]string) []nodeURL {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not installed: apt-get install nodejs, or see https://nodejs.org/en/download")
	}
	input, err := json.Marshal(map[string]any{"base": base, "pairs": pairs})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), node, "-e", nodeScript)
	command.Stdin = bytes.NewReader(input)
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []nodeURL
	if err := json.Unmarshal(output, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// TestHostileReturnURLs asserts that nothing leads out of the allowed set, as a
// browser would read both what was asked for and what it is sent.
func TestHostileReturnURLs(t *testing.T) {
	if len(hostileReturnURLs) < 150 {
		t.Fatalf("%d strings only", len(hostileReturnURLs))
	}
	u := mustReturnURLs(t, "", hostileAllowed...)
	var accepted [][2]string
	for _, raw := range hostileReturnURLs {
		location, err := u.check(raw, hostileBase)
		if err != nil {
			continue
		}
		accepted = append(accepted, [2]string{raw, location})
	}
	t.Logf("%d of %d are accepted", len(accepted), len(hostileReturnURLs))
	for i, node := range askNode(t, hostileBase, accepted) {
		raw, location := accepted[i][0], accepted[i][1]
		if node.Location != location {
			t.Errorf("%q: a browser reads the location %q as %q", raw, location, node.Location)
		}
		if node.Raw != location {
			t.Errorf("%q: a browser reads %q, we %q", raw, node.Raw, location)
		}
		if !withinAllowed(strings.TrimSuffix(node.Protocol, ":"), node.Host, node.Path) {
			t.Errorf("%q leads to %q", raw, location)
		}
	}
}

// FuzzReturnURL checks that what is accepted lies in the allowed set as net/url
// reads it, is clean, and is accepted again as it is.
func FuzzReturnURL(f *testing.F) {
	for i, raw := range hostileReturnURLs {
		if i%4 == 0 {
			f.Add(raw)
		}
	}
	for _, raw := range []string{"", "/x?y#z", "https://a.wild.example/", "http://192.0.2.1", "https://[2001:db8::1]/", "https://path.example/foo/bar"} {
		f.Add(raw)
	}
	u := mustReturnURLs(f, "/goodbye", hostileAllowed...)
	f.Fuzz(func(t *testing.T, raw string) {
		location, err := u.check(raw, hostileBase)
		if err != nil {
			if location != "" {
				t.Fatalf("%q: a location beside an error", raw)
			}
			return
		}
		parsed, err := url.Parse(location)
		if err != nil || parsed.User != nil || !withinAllowed(parsed.Scheme, parsed.Host, parsed.Path) {
			t.Fatalf("%q leads to %q (%v)", raw, location, err)
		}
		for _, c := range []byte(location) {
			if c <= ' ' || c >= 0x7f || c == '\\' {
				t.Fatalf("%q: byte %#x in %q", raw, c, location)
			}
		}
		if again, err := u.check(location, hostileBase); err != nil || again != location {
			t.Fatalf("%q: %q becomes %q (%v)", raw, location, again, err)
		}
	})
}
