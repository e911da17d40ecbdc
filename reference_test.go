package caddylogout

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/adapttest"
)

const referenceFile = "docs/reference.md"

func referenceText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections returns the parts of a document by their headings, each without the
// parts below it.
func sections(text string) map[string]string {
	found := make(map[string]string)
	masked := fence.ReplaceAllStringFunc(text, func(block string) string {
		return strings.ReplaceAll(block, "\n#", "\n ") // a comment is no heading
	})
	at := heading.FindAllStringSubmatchIndex(masked, -1)
	for i, match := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		found[text[match[2]:match[3]]] = text[match[1]:end]
	}
	return found
}

// unknownOption is how a parser names the options that there are: each says so in
// the error for one that there is not.
var unknownOption = regexp.MustCompile(`^unknown option %q of (.+): want (.+)$`)

// parsedOptions returns the options that the parsers of Caddyfiles name, by the
// block that they belong to.
func parsedOptions(t *testing.T) map[string][]string {
	t.Helper()
	options := make(map[string][]string)
	inspectCode(t, func(node ast.Node) {
		expr, ok := node.(ast.Expr)
		if !ok {
			return
		}
		text, _ := constantText(expr)
		match := unknownOption.FindStringSubmatch(text)
		if match == nil {
			return
		}
		// Of a text in parts the whole comes first.
		if list := strings.Split(strings.ReplaceAll(match[2], " or ", ", "), ", "); len(list) > len(options[match[1]]) {
			options[match[1]] = list
		}
	})
	return options
}

// inspectCode calls look with each node of the code that is built into Caddy.
func inspectCode(t *testing.T, look func(node ast.Node)) {
	t.Helper()
	other := map[string]bool{"bench": true, "clients": true, "cmd": true, "integration": true, "testdata": true, "tools": true}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (other[entry.Name()] || entry.Name()[0] == '.' || strings.HasSuffix(entry.Name(), "test")):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			look(node)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// constantText returns a text, also one that is put together with +.
func constantText(expr ast.Expr) (string, bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := constantText(e.X)
		right, also := constantText(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}

// optionHome says where the options of a block are written down: the section, and
// what stands before the option in the first cell of its row, if anything.
func optionHome(block string) (section, before string) {
	switch block {
	case "the redis store", "the embedded store":
		return "store", ""
	case "tls":
		return "store", "`tls` "
	case "logout_on", "strip_cookies":
		return "logout", "`" + block + "` "
	}
	return block, ""
}

var (
	tableRow  = regexp.MustCompile(`(?m)^\| (.+?) \|`)
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	firstWord = regexp.MustCompile(`^[a-z_]+`)
	// insideBlock is what stands before an option of a block inside.
	insideBlock = regexp.MustCompile("^`[a-z_]+` ")
)

// TestReferenceOptions holds what the parsers take against the tables: a row for
// each option, and an option for each row.
func TestReferenceOptions(t *testing.T) {
	blocks := parsedOptions(t)
	if len(blocks) < 10 {
		t.Fatalf("only %d blocks of options were found in the code", len(blocks))
	}
	parts := sections(referenceText(t))
	known := make(map[string]map[string]bool) // section, then what stands in a row
	for block, options := range blocks {
		section, before := optionHome(block)
		if known[section] == nil {
			known[section] = make(map[string]bool)
		}
		rows := documentedOptions(parts[section])
		for _, option := range options {
			known[section][before+option] = true
			if !rows[before+option] {
				t.Errorf("%s: the table of %q has no row for %s`%s`, which is an option of %s", referenceFile, section, before, option, block)
			}
		}
	}
	for section, options := range known {
		for row := range documentedOptions(parts[section]) {
			if !options[row] {
				t.Errorf("%s: %q has a row for %s, which is no option", referenceFile, section, row)
			}
		}
	}
}

// documentedOptions returns the options in the first cells of the tables of a
// section: "name", or "`block` name" for those of a block inside.
func documentedOptions(section string) map[string]bool {
	found := make(map[string]bool)
	for _, row := range tableRow.FindAllStringSubmatch(fence.ReplaceAllString(section, ""), -1) {
		cell, _, _ := strings.Cut(row[1], "(in JSON")
		before := insideBlock.FindString(cell)
		if !strings.HasPrefix(cell[len(before):], "`") {
			before = ""
		}
		for _, span := range codeSpan.FindAllStringSubmatch(cell[len(before):], -1) {
			if word := firstWord.FindString(span[1]); word != "" {
				found[before+word] = true
			}
		}
	}
	return found
}

// TestReferenceJSON looks for each JSON field of each module.
func TestReferenceJSON(t *testing.T) {
	text := referenceText(t)
	ours := reflect.TypeFor[App]().PkgPath()
	modules := 0
	for _, name := range caddy.Modules() {
		info, err := caddy.GetModule(name)
		if err != nil {
			t.Fatal(err)
		}
		module := reflect.TypeOf(info.New())
		if module.Kind() != reflect.Pointer {
			continue
		}
		if module = module.Elem(); module.PkgPath() != ours || strings.HasPrefix(name, "admin.") {
			continue
		}
		modules++
		for _, field := range jsonFields(module, nil) {
			if !strings.Contains(text, `"`+field+`"`) && !strings.Contains(text, "`"+field+"`") {
				t.Errorf("%s: nothing about the JSON field %q of %s", referenceFile, field, name)
			}
		}
	}
	if modules < 8 {
		t.Errorf("only %d modules were looked at", modules)
	}
}

// jsonFields returns the names of the JSON fields of a struct and of what it
// holds.
func jsonFields(of reflect.Type, seen []reflect.Type) []string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of.PkgPath() != reflect.TypeFor[App]().PkgPath() {
		return nil
	}
	if slices.Contains(seen, of) {
		return nil
	}
	var names []string
	for field := range of.Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "" || tag == "-" {
			continue
		}
		names = append(names, tag)
		names = append(names, jsonFields(field.Type, append(seen, of))...)
	}
	return names
}

// exampleSections are the parts of the reference that show a Caddyfile and the
// JSON that it adapts to.
var exampleSections = []string{
	"sessions", "store", "cookie", "near_cache", "durable_logout",
	"logout", "login", "session_auth", "session matcher",
}

// TestReferenceExamples adapts each Caddyfile that has JSON below it and compares.
func TestReferenceExamples(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "from the environment")
	parts := sections(referenceText(t))
	for _, section := range exampleSections {
		t.Run(section, func(t *testing.T) {
			compared := 0
			found := fence.FindAllStringSubmatch(parts[section], -1)
			for i, block := range found {
				if block[1] != "caddyfile" || i+1 == len(found) || found[i+1][1] != "json" {
					continue
				}
				compared++
				compareExample(t, block[2], found[i+1][2])
			}
			if compared == 0 {
				t.Error("no Caddyfile with its JSON")
			}
		})
	}
}

func compareExample(t *testing.T, text, want string) {
	t.Helper()
	if !wholeCaddyfile.MatchString(text) {
		text = ":0 {\n" + text + "}\n"
	}
	raw, _, err := adapttest.Adapt(referenceFile, []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var adapted, shown any
	if err := json.Unmarshal(raw, &adapted); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &shown); err != nil {
		t.Fatalf("%v in\n%s", err, want)
	}
	if !holds(adapted, shown) {
		t.Errorf("%s\nadapts to\n%s\nwhich does not hold\n%s", text, raw, want)
	}
}

// holds looks for a part of a configuration anywhere in it: a whole one, the
// handler of a route, a set of matchers.
func holds(in, part any) bool {
	if contains(in, part) {
		return true
	}
	switch v := in.(type) {
	case map[string]any:
		for _, inner := range v {
			if holds(inner, part) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if holds(inner, part) {
				return true
			}
		}
	}
	return false
}

// contains reports whether a part is what stands here; a route shows its matchers
// alone, a configuration its app of sessions alone.
func contains(in, part any) bool {
	object, ok := part.(map[string]any)
	whole, also := in.(map[string]any)
	if !ok || !also {
		return equal(in, part)
	}
	if apps, ok := object["apps"].(map[string]any); ok {
		others, _ := whole["apps"].(map[string]any)
		return equal(others["sessions"], apps["sessions"])
	}
	if match, ok := object["match"]; ok && len(object) == 1 {
		return equal(whole["match"], match)
	}
	return equal(whole, object)
}

// equal compares what a Caddyfile adapts to with what is shown; a duration is
// shown as people write it, and adapts to a number.
func equal(adapted, shown any) bool {
	switch a := adapted.(type) {
	case map[string]any:
		s, ok := shown.(map[string]any)
		if !ok || len(a) != len(s) {
			return false
		}
		for name := range a {
			if other, ok := s[name]; !ok || !equal(a[name], other) {
				return false
			}
		}
		return true
	case []any:
		s, ok := shown.([]any)
		return ok && slices.EqualFunc(a, s, equal)
	case float64:
		if text, ok := shown.(string); ok {
			duration, err := caddy.ParseDuration(text)
			return err == nil && float64(duration) == a
		}
	}
	return adapted == shown
}

// TestReferenceLogs holds the table of log lines against the code: the table has each
// line that operators see, and the code can write each line of the table.
func TestReferenceLogs(t *testing.T) {
	table := sections(referenceText(t))["Logs"]
	documented := make(map[string]bool)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for _, span := range codeSpan.FindAllStringSubmatch(cells[3], -1) {
			documented[span[1]] = true
		}
	}
	written := logMessages(t)
	if len(written) < 15 {
		t.Fatalf("only %d log lines were found in the code", len(written))
	}
	for message := range written {
		if !documented[message] {
			t.Errorf("%s: the table of logs lacks %q", referenceFile, message)
		}
	}
	for message := range documented {
		if !written[message] {
			t.Errorf("%s: nothing writes %q to the log", referenceFile, message)
		}
	}
}

// logMessages returns the messages that the code logs at info and
// above.
func logMessages(t *testing.T) map[string]bool {
	t.Helper()
	messages := make(map[string]bool)
	inspectCode(t, func(node ast.Node) {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Info", "Warn", "Error", "Check"}, method.Sel.Name) {
			return
		}
		message := call.Args[0]
		if method.Sel.Name == "Check" { // its level comes first
			if level, ok := message.(*ast.SelectorExpr); ok && level.Sel.Name == "DebugLevel" {
				return
			}
			message = call.Args[len(call.Args)-1]
		}
		if text, ok := constantText(message); ok {
			messages[text] = true
		}
	})
	return messages
}

// TestTroubleshooting holds the log lines that the page on troubleshooting names,
// the first of each cell, against those that there are.
func TestTroubleshooting(t *testing.T) {
	written, named, column := logMessages(t), 0, -1
	for line := range strings.Lines(documents(t)["docs/how-to/troubleshoot.md"]) {
		cells := strings.Split(line, "|")
		if i := slices.Index(cells, " in the log "); i >= 0 {
			column = i
		}
		if column < 0 || column >= len(cells) || !strings.HasPrefix(line, "|") {
			if !strings.HasPrefix(line, "|") {
				column = -1 // the table is over
			}
			continue
		}
		for _, span := range codeSpan.FindAllStringSubmatch(cells[column], 1) {
			if named++; !written[span[1]] {
				t.Errorf("nothing writes %q to the log", span[1])
			}
		}
	}
	if named < 15 {
		t.Errorf("%d log lines are named: too few", named)
	}
}

// TestReferenceErrors holds the table of errors against the code.
func TestReferenceErrors(t *testing.T) {
	table := sections(referenceText(t))["Errors"]
	documented := make(map[string]bool)
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			for _, span := range codeSpan.FindAllStringSubmatch(cells[2], -1) {
				documented[span[1]] = true
			}
		}
	}
	constants := make(map[string]string)
	inspectCode(t, func(node ast.Node) {
		if spec, ok := node.(*ast.ValueSpec); ok && len(spec.Names) == 1 && len(spec.Values) == 1 {
			if text, ok := constantText(spec.Values[0]); ok {
				constants[spec.Names[0].Name] = text
			}
		}
	})
	ids := make(map[string]bool)
	inspectCode(t, func(node ast.Node) {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return
		}
		switch name := call.Fun.(type) {
		case *ast.Ident:
			if !strings.EqualFold(name.Name, "newError") {
				return
			}
		case *ast.SelectorExpr:
			if name.Sel.Name != "NewError" {
				return
			}
		default:
			return
		}
		id, ok := constantText(call.Args[1])
		if constant, is := call.Args[1].(*ast.SelectorExpr); is {
			id, ok = constants[constant.Sel.Name]
		}
		if ok && id != "stub_error" {
			ids[id] = true
		}
	})
	if len(ids) < 20 {
		t.Fatalf("only %d errors were found in the code", len(ids))
	}
	for id := range ids {
		if !documented[id] {
			t.Errorf("%s: the table of errors lacks %s", referenceFile, id)
		}
	}
	for id := range documented {
		if id != "" && !ids[id] {
			t.Errorf("%s: no answer has the error %s", referenceFile, id)
		}
	}
}
