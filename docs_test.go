package caddylogout

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-logout/caddy-logout/internal/adapttest"
)

// documents returns the text of the pages at the top and of all in docs, by name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	documents := make(map[string]string)
	top, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	names := filesBelow(t, "docs", ".md")
	if len(names) == 0 {
		t.Fatal("no documents")
	}
	for _, name := range append(names, top...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		documents[name] = string(text)
	}
	return documents
}

// filesBelow returns the names of the files of a kind in a folder and below it.
func filesBelow(t *testing.T, folder, suffix string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, suffix) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// fence is a block of code in a document.
var fence = regexp.MustCompile("(?ms)^```(\\w*)[^\n]*\n(.*?)^```$")

// blocks returns the blocks of one language.
func blocks(text, language string) []string {
	var found []string
	for _, match := range fence.FindAllStringSubmatch(text, -1) {
		if match[1] == language {
			found = append(found, match[2])
		}
	}
	return found
}

var (
	// link is the target of a link or an image, in Markdown or in HTML.
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)|<(?:a|img|source)[^>]* (?:href|src|srcset)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	// inlineCode is code in a line of text.
	inlineCode = regexp.MustCompile("`[^`\n]+`")
)

// anchors returns the names of the headings of a document, as they are written
// in links.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return r
			default:
				return -1
			}
		}, strings.ToLower(match[1]))
		found[name] = true
	}
	return found
}

// links returns where a document leads, without the blocks of code.
func links(text string) []string {
	var found []string
	text = inlineCode.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1]+match[2])
	}
	return found
}

func TestDocumentLinks(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, to := range links(text) {
			target, anchor, _ := strings.Cut(to, "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s, which is not there", name, to)
				continue
			}
			if other, ok := all[file]; ok && anchor != "" && !anchors(other)[anchor] {
				t.Errorf("%s: link to %s, and there is no such heading", name, to)
			}
		}
	}
}

// TestDocumentsAreOnTheMap looks for every page and example in docs/README.md, and
// for every image in some page.
func TestDocumentsAreOnTheMap(t *testing.T) {
	const chart = "docs/README.md"
	all := documents(t)
	onTheMap, anywhere := make(map[string]bool), make(map[string]bool)
	for name, text := range all {
		for _, to := range links(text) {
			target, _, _ := strings.Cut(to, "#")
			file := filepath.Join(filepath.Dir(name), target)
			anywhere[file] = true
			if name == chart {
				onTheMap[file] = true
			}
		}
	}
	for _, file := range append(filesBelow(t, "docs", ".md"), filesBelow(t, "caddyfile-examples", ".Caddyfile")...) {
		if file != chart && !onTheMap[file] {
			t.Errorf("%s: nothing leads to %s", chart, file)
		}
	}
	for _, file := range append(filesBelow(t, "docs", ".png"), filesBelow(t, "docs", ".svg")...) {
		if !anywhere[file] {
			t.Errorf("no page shows %s", file)
		}
	}
}

// wholeCaddyfile matches a block that needs no site around it: global options, a
// snippet, or a site by its address.
var wholeCaddyfile = regexp.MustCompile(`^(#[^\n]*\n|\s)*(\{|\(|(https?://|localhost|:|\*\.|[\w-]+\.[\w.-]+)\S*.* \{\n)`)

// accountsOption is where a document names an accounts file, which is read when
// a configuration is loaded: the one of the examples stands in for it.
var accountsOption = regexp.MustCompile(`(?m)^(\s*accounts) \S+$`)

// secretFile is a placeholder for the content of a file, which is not there.
var secretFile = regexp.MustCompile(`\{file\.[^}]+\}`)

func TestDocumentedCaddyfiles(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "from the environment")
	checked := 0
	for name, text := range documents(t) {
		for _, block := range blocks(text, "caddyfile") {
			checked++
			block = secretFile.ReplaceAllString(block, "{env.REDIS_PASSWORD}")
			block = accountsOption.ReplaceAllString(block, "${1} caddyfile-examples/accounts.txt")
			if !wholeCaddyfile.MatchString(block) {
				block = ":0 {\n" + block + "}\n"
			}
			config, _, err := adapttest.Adapt(name, []byte(block))
			if err != nil {
				t.Errorf("%s: %v in\n%s", name, err, block)
				continue
			}
			if err := adapttest.Validate(config); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, block)
			}
		}
	}
	if checked == 0 {
		t.Error("no Caddyfile was found")
	}
}

func TestDocumentedJSON(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "from the environment")
	checked := 0
	for name, text := range documents(t) {
		for _, block := range blocks(text, "json") {
			config := block
			switch {
			case strings.Contains(block, `"apps"`):
			case strings.Contains(block, `"handler"`):
				config = `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[` + block + `]}]}}}}}`
			case strings.HasPrefix(block, `{"match"`):
				config = `{"apps":{"http":{"servers":{"s":{"routes":[` + block + `]}}}}}`
			default: // an answer, not a configuration
				continue
			}
			checked++
			if err := adapttest.Validate([]byte(config)); err != nil {
				t.Errorf("%s: %v in\n%s", name, err, block)
			}
		}
	}
	if checked == 0 {
		t.Error("no JSON was found")
	}
}

// testName is the name of a test as documents write it: in backquotes, perhaps
// with the name of a case behind it.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)")

func TestDocumentedTestsExist(t *testing.T) {
	var tests bytes.Buffer
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && path != "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t)
	for _, document := range []string{"docs/ory-compatibility.md", "docs/security.md", "docs/out-means-out.md"} {
		names := testName.FindAllStringSubmatch(all[document], -1)
		if len(names) == 0 {
			t.Errorf("%s names no test", document)
		}
		for _, name := range names {
			if !bytes.Contains(tests.Bytes(), []byte("func "+name[1]+"(")) {
				t.Errorf("%s: there is no test %s", document, name[1])
			}
		}
	}
}
