package pages

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of texts in docs/pages.md anew")

const (
	document = "../docs/pages.md"
	mark     = "<!-- texts -->\n"
)

func TestDocumentedTexts(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, got, ok := strings.Cut(string(raw), mark)
	if !ok {
		t.Fatal("there is no table of texts")
	}
	var table strings.Builder
	table.WriteString("\n| key | text |\n|---|---|\n")
	for _, key := range slices.Sorted(maps.Keys(english)) {
		fmt.Fprintf(&table, "| `%s` | %s |\n", key, english[key])
	}
	if *update {
		if err := os.WriteFile(document, []byte(before+mark+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != table.String() {
		t.Errorf("the table of texts is not as it should be: run go test ./pages -update")
	}
}

func TestDocumentedFields(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	check := func(section string, data reflect.Type) {
		t.Helper()
		for field := range data.Fields() {
			if !strings.Contains(section, "`."+field.Name+"`") {
				t.Errorf("%s: %s is not in the document", data, field.Name)
			}
		}
	}
	for name, sample := range samples {
		_, section, ok := strings.Cut(string(raw), "\n**"+name+"**\n")
		if !ok {
			t.Errorf("%s is not in the document", name)
		}
		section, _, _ = strings.Cut(section, "\n**")
		check(section, reflect.TypeOf(sample.full))
		if data, ok := sample.full.(SessionsData); ok {
			check(section, reflect.TypeOf(data.Sessions[0]))
		}
	}
}
