// Package docs_test checks the words of the documentation, and of the comments and
// messages in the Go code.
package docs_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// folders are the Go packages that use the words of the list already, with all
// packages below them, relative to the top of the tree. The package there is checked, too.
var folders = []string{
	"cmd", "docs", "integration", "login", "pages", "scripts", "session", "store", "tools",
	"internal/adapttest", "internal/attacktest", "internal/clocktest", "internal/hostileurl",
	"internal/httpx", "internal/manager", "internal/nearcache", "internal/person", "internal/redistest",
	"internal/returnurl", "internal/telemetry",
	"formats", "internal/gate", "internal/signin", "internal/signout", "internal/web", "internal/streams",
	"internal/journal", "internal/storehealth", "internal/deferred", "internal/admin", "internal/check",
	"internal/cli", "bench",
}

// documents are the patterns of the pages and configuration files to check.
var documents = []string{
	"*.md", "docs/*.md", "docs/*/*.md", "docs/*.yaml", "docs/*.json",
	"compose.yaml", "deploy/*.yaml", "caddyfile-examples/*.Caddyfile",
}

// rule is a word to avoid, and the word to use instead.
type rule struct {
	avoid *regexp.Regexp
	say   string
}

func avoid(pattern, say string) rule {
	return rule{regexp.MustCompile(`(?i)` + strings.ReplaceAll(pattern, " ", `\s+`)), say}
}

// rules are the words that readers stumbled over.
var rules = []rule{
	avoid(`\b(is|are|was|were|be|been|being|known to be|redis|stores?|servers?) away\b`, "unavailable"),
	avoid(`\blifecycle\b`, "manager"),
	avoid(`\blinger(s|ed|ing)?\b`, "deferred close"),
	avoid(`\bhygiene\b`, "sanitise headers"),
	avoid(`\b(passengers?|tickets?)\b`, "batch"),
	avoid(`\b(dead|buried)\b`, "revoked, expired or not found"),
	avoid(`\b(failed|wrong|other|these|those|of|many|more|the|all|on) tries\b|\btries (at|to sign in)\b`, "attempts"),
	avoid(`(^|[^/\w])goodbyes?\b`, "signed-out page"),
	avoid(`\bbridges?\b`, "adapter"),
	avoid(`\bpictures?\b`, "image"),
	avoid(`\bwhoever\b`, "name the actor: anyone who, the client, the operator"),
	avoid(`\bsomebody\b`, "name the actor: a person, the client, another program"),
	avoid(`\b(for|to|of) who (is|has|asks|can|may|reads|wants|signs|comes|was|knows)\b`, "name the actor: clients that, people who"),
	avoid(`(^|[.:;] )who (can|has|may|brings|reads|follows|comes|signs|wants|knows|asks)\b[^?]*[.;]`, "name the actor: anyone who, a client that"),
	avoid(`\b(that|which|it|what) (is|are) none\b|, and is none\b`, "is not a …"),
	avoid(`\b(is|be|are) no use\b`, "does not count as using"),
	avoid(`\b(it|they|this|that|key|check|checks|session) (came|come|comes) to( now| and|[.,;])`, "outcome, result"),
	avoid(`\b(is|for|be) ill\b`, "unhealthy"),
	avoid(`\bwhat (came|comes|becomes) of\b`, "outcome, result"),
	avoid(`\b(nobody|no one|anybody) is told\b|\btells? nobody\b|\btold to be\b`, "the response never says that"),
	avoid(`\b(a|the|each|every|no|one|its|these|those|change|such) reports?\b`, "change notification"),
	avoid(`\b(the|an|each|every|its|this) answer (is|was|has|had|says|goes)\b`, "response"),
	avoid(`^go on$`, "a button says where it leads"),
	avoid(`\bis everybody\b`, "anyone who …"),
}

// heading is the first line of a comment that describes a file. The package doc says
// what the package is, and a file needs no heading.
var heading = avoid(`^// this file\b`, "one package doc, and no heading of the file")

// allowed are the phrases that stay, each with its reason. They match in lower case.
var allowed = []struct{ phrase, reason string }{
	{`"dead"`, "a value of the label outcome, which dashboards use"},
	{"live holds sessions; dead", "the names of two fields of the near cache"},
	{"// dead reports", "the name of a method of the Redis store"},
}

// finding is a word to avoid in a text.
type finding struct {
	line       int
	found, say string
}

// find looks for the words in a text that begins at a line of its file.
func find(text string, line int, rules []rule) []finding {
	masked := strings.ToLower(text)
	for _, a := range allowed {
		masked = strings.ReplaceAll(masked, a.phrase, strings.Repeat("x", len(a.phrase)))
	}
	var found []finding
	for _, r := range rules {
		for _, at := range r.avoid.FindAllStringIndex(masked, -1) {
			found = append(found, finding{
				line:  line + strings.Count(text[:at[0]], "\n"),
				found: strings.Join(strings.Fields(text[at[0]:at[1]]), " "),
				say:   r.say,
			})
		}
	}
	return found
}

var (
	fenced = regexp.MustCompile("(?ms)^\\s*```.*?^\\s*```\\s*$")
	inline = regexp.MustCompile("`[^`\n]+`|\\]\\([^)\\s]+\\)|https?://\\S+")
	// margin is what stands before the text in the second line of a comment.
	margin = regexp.MustCompile(`\n\s*(//|#) ?`)
)

// blank replaces each part by as many signs, so that all lines keep their numbers.
func blank(text string, part *regexp.Regexp, sign string) string {
	return part.ReplaceAllStringFunc(text, func(match string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return rune(sign[0])
		}, match)
	})
}

// inDocument looks through a page, without its code, or a configuration file.
func inDocument(name, text string) []finding {
	if filepath.Ext(name) == ".md" {
		return find(blank(blank(text, fenced, "`"), inline, "`"), 1, rules)
	}
	return find(blank(text, margin, " "), 1, rules)
}

// inCode looks through the comments of a Go file, and through its messages: the texts
// of more than one word, unless it is a test.
func inCode(name string, source []byte) ([]finding, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, group := range file.Comments {
		from, to := set.Position(group.Pos()), set.Position(group.End())
		text := string(source[from.Offset:to.Offset])
		found = append(found, find(blank(text, margin, " "), from.Line, append(slices.Clone(rules), heading))...)
	}
	if strings.HasSuffix(name, "_test.go") {
		return found, nil
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil && strings.Contains(text, " ") {
				found = append(found, find(text, set.Position(literal.Pos()).Line, rules)...)
			}
		}
		return true
	})
	return found, nil
}

// TestWords looks for the words in the documents and in the clean folders.
func TestWords(t *testing.T) {
	t.Chdir("..")
	checked := 0
	report := func(name string, found []finding) {
		checked++
		for _, f := range found {
			t.Errorf("%s:%d: %q: say: %s", name, f.line, f.found, f.say)
		}
	}
	for _, pattern := range documents {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: no documents, %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			report(name, inDocument(name, string(text)))
		}
	}
	top, err := filepath.Glob("*.go")
	if err != nil || len(top) == 0 {
		t.Fatalf("no Go files at the top of the tree, %v", err)
	}
	for _, folder := range append(top, folders...) {
		err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(name) != ".go" || name == "docs/words_test.go" {
				return err
			}
			source, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			found, err := inCode(name, source)
			report(name, found)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 150 {
		t.Errorf("only %d files were checked", checked)
	}
}

// TestAllowedPhrases holds the list of exceptions against the files: a phrase that
// stands nowhere any more is to be removed.
func TestAllowedPhrases(t *testing.T) {
	t.Chdir("..")
	var all bytes.Buffer
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (entry.Name()[0] == '.' || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || name == "docs/words_test.go" || !slices.Contains([]string{".go", ".md", ".yaml", ".json", ".Caddyfile"}, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(name)
		all.Write(bytes.ToLower(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allowed {
		if a.reason == "" || !bytes.Contains(all.Bytes(), []byte(a.phrase)) {
			t.Errorf("%q stands nowhere, or has no reason", a.phrase)
		}
	}
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       []finding
	}{
		"clean page":       {"a.md", "While the store is unavailable, the response is 503.\n", nil},
		"over a line end":  {"a.md", "# A\n\nWhile Redis is\naway, nothing works.\n", []finding{{3, "is away", "unavailable"}}},
		"a client leaves":  {"a.md", "The client goes away.\n", nil},
		"code in a page":   {"a.md", "The field `away`:\n\n```sh\nredis is away\n```\n", nil},
		"after code":       {"a.md", "```sh\na\n```\n\nA dead session.\n", []finding{{5, "dead", "revoked, expired or not found"}}},
		"an address":       {"a.md", "See [it](x.md#goodbye) and https://a.example/bridge.\n", nil},
		"a path":           {"a.md", "It leads to /goodbye.\n", nil},
		"headless who":     {"a.md", "204 for who asks for JSON.\n", []finding{{1, "for who asks", "name the actor: clients that, people who"}}},
		"a question":       {"a.md", "It says who is signed in.\n", nil},
		"none":             {"a.md", "A line that is none is an error.\n", []finding{{1, "that is none", "is not a …"}}},
		"told to be":       {"a.md", "Nobody is told.\n", []finding{{1, "Nobody is told", "the response never says that"}}},
		"Caddyfile":        {"a.Caddyfile", "# Shows: a\n# bridge\n", []finding{{2, "bridge", "adapter"}}},
		"clean comment":    {"a.go", "package a\n\n// A is unavailable.\nvar A int\n", nil},
		"comment":          {"a.go", "package a\n\n// A waits for\n// whoever comes.\nvar A int\n", []finding{{4, "whoever", "name the actor: anyone who, the client, the operator"}}},
		"over its margin":  {"a.go", "package a\n\n// A store that is\n// away.\nvar A int\n", []finding{{3, "is away", "unavailable"}}},
		"message":          {"a.go", "package a\n\nvar A = f(\"redis is away\")\n", []finding{{3, "is away", "unavailable"}}},
		"one word":         {"a.go", "package a\n\nvar A = \"dead\"\n", nil},
		"message of tests": {"a_test.go", "package a\n\nvar A = \"redis is away\"\n", nil},
		"heading":          {"a.go", "// This file holds A.\n\npackage a\n", []finding{{1, "// This file", "one package doc, and no heading of the file"}}},
		"allowed":          {"a.go", "package a\n\n// A is \"dead\".\nvar A int\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := inDocument(c.file, c.text), error(nil)
			if filepath.Ext(c.file) == ".go" {
				got, err = inCode(c.file, []byte(c.text))
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("found %v, %v; want %v", got, err, c.want)
			}
		})
	}
}
