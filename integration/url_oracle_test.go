package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// question is what a browser's parser is asked. The texts are hexadecimal, as
// they may be no UTF-8.
type question struct {
	// Raw is resolved against Origin, Location against Request.
	Raw, Origin, Location, Request string
}

// reading is the answer. What is not a URL is empty.
type reading struct{ Raw, Location parsedURL }

type parsedURL struct{ Href, Protocol, Host, Path, User string }

// oracleScript defines read, which answers a question. Its author is the URL
// Standard: it does nothing but call URL.
const oracleScript = `
const text = (hex) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)));
const parse = (hex, base) => {
  try {
    const url = new URL(text(hex), base);
    return { Href: url.href, Protocol: url.protocol, Host: url.host, Path: url.pathname, User: url.username + url.password };
  } catch { return {} }
};
const read = (q) => ({ Raw: parse(q.Raw, q.Origin), Location: parse(q.Location, q.Request) });
`

// askNode starts Node once, and asks it by line.
func askNode(t *testing.T, questions []question) func() ([]reading, error) {
	t.Helper()
	cmd := tool(t, "nodejs", "node", "-e", oracleScript+`
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(JSON.stringify(read(JSON.parse(line))) + "\n");
});`)
	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, q := range questions {
		if err := encoder.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin = &input
	return func() ([]reading, error) {
		output, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		answers := make([]reading, 0, len(questions))
		for line := range bytes.Lines(output) {
			var answer reading
			if err := json.Unmarshal(line, &answer); err != nil {
				return nil, err
			}
			answers = append(answers, answer)
		}
		return answers, nil
	}
}

// askChromium has headless Chromium open a page that holds the questions, and
// reads the answers from the page.
func askChromium(t *testing.T, questions []question) func() ([]reading, error) {
	t.Helper()
	input, err := json.Marshal(questions) // < is escaped
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: what Chromium leaves running for a moment may still write here.
	dir, err := os.MkdirTemp("", "chromium") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	page := filepath.Join(dir, "page.html")
	writeFile(t, page, `<!doctype html><meta charset="utf-8"><pre id="out"></pre><script>`+oracleScript+
		`document.getElementById("out").textContent = encodeURIComponent(JSON.stringify(`+string(input)+`.map(read)));</script>`)
	cmd := tool(t, "chromium", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-component-update",
		"--no-first-run", "--user-data-dir="+filepath.Join(dir, "profile"), "--dump-dom", "file://"+page)
	cmd.WaitDelay = stopTimeout // for what holds its output open
	return func() ([]reading, error) {
		output, err := cmd.Output()
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return nil, err
		}
		_, rest, _ := strings.Cut(string(output), `<pre id="out">`)
		rest, _, found := strings.Cut(rest, "</pre>")
		if !found {
			return nil, fmt.Errorf("no answer in a page of %d bytes", len(output))
		}
		text, err := url.PathUnescape(rest)
		if err != nil {
			return nil, err
		}
		var answers []reading
		return answers, json.Unmarshal([]byte(text), &answers)
	}
}
