// Package adapttest adapts Caddyfiles in tests, and compares what comes out with
// golden files. A golden file holds a Caddyfile, a line of dashes, and the JSON
// that it adapts to or the text of the error. Where the JSON is refused when it
// is loaded, another line of dashes and the text of that error follow.
package adapttest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what the Caddyfiles use besides our modules
)

// Suffix is how the names of golden files end.
const Suffix = ".caddyfiletest"

// separator is the line between the parts of a golden file.
const separator = "----------\n"

// Adapt turns a Caddyfile into indented JSON and its warnings, one a line. The
// name stands for the file in errors and warnings.
func Adapt(name string, text []byte) (config []byte, warnings []string, err error) {
	raw, list, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": name})
	if err != nil {
		return nil, nil, err
	}
	for _, w := range list {
		warnings = append(warnings, w.String())
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "\t"); err != nil {
		return nil, nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), warnings, nil
}

// Validate loads a configuration as far as it goes without starting it: every
// module is provisioned and checked.
func Validate(config []byte) error {
	var cfg *caddy.Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return err
	}
	return caddy.Validate(cfg)
}

// Run compares every golden file of a folder, each as a test by its name. With
// update it writes them anew instead, with the Caddyfile formatted.
func Run(t *testing.T, folder string, update bool) {
	files, err := filepath.Glob(filepath.Join(folder, "*"+Suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s (%v)", folder, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), Suffix), func(t *testing.T) { compare(t, file, update) })
	}
}

func compare(t *testing.T, file string, update bool) {
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, _, found := strings.Cut(string(golden), separator)
	if !found && !update {
		t.Fatalf("%s has no line of dashes", file)
	}
	text := caddyfile.Format([]byte(input))
	if string(text) != input && !update {
		t.Errorf("the Caddyfile is not as caddy fmt has it")
	}
	got := string(text) + separator + outcome(t, text)
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(golden) {
		t.Errorf("want:\n%s\ngot:\n%s", golden, got)
	}
}

// outcome adapts and loads a Caddyfile and returns the result.
func outcome(t *testing.T, text []byte) string {
	config, warnings, err := Adapt("Caddyfile", text)
	if err != nil {
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	if err := Validate(config); err != nil {
		return string(config) + separator + err.Error() + "\n"
	}
	return string(config)
}
