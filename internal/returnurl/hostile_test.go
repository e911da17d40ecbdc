package returnurl

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/hostileurl"
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
	if len(hostileurl.Written) < 150 {
		t.Fatalf("%d strings only", len(hostileurl.Written))
	}
	u := mustReturnURLs(t, "", hostileAllowed...)
	var accepted [][2]string
	for _, raw := range hostileurl.Written {
		location, err := u.Check(raw, hostileBase)
		if err != nil {
			continue
		}
		accepted = append(accepted, [2]string{raw, location})
	}
	t.Logf("%d of %d are accepted", len(accepted), len(hostileurl.Written))
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
	for i, raw := range hostileurl.Written {
		if i%4 == 0 {
			f.Add(raw)
		}
	}
	for _, raw := range []string{"", "/x?y#z", "https://a.wild.example/", "http://192.0.2.1", "https://[2001:db8::1]/", "https://path.example/foo/bar"} {
		f.Add(raw)
	}
	u := mustReturnURLs(f, "/goodbye", hostileAllowed...)
	f.Fuzz(func(t *testing.T, raw string) {
		location, err := u.Check(raw, hostileBase)
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
		if again, err := u.Check(location, hostileBase); err != nil || again != location {
			t.Fatalf("%q: %q becomes %q (%v)", raw, location, again, err)
		}
	})
}
