package caddylogout

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/internal/adapttest"
)

// exampleHead is how an example begins.
var exampleHead = regexp.MustCompile(`^# Shows: \S.*\n# Run:   \S.*\n# Expect: \S`)

// exampleEnvironment are the variables that the examples read.
var exampleEnvironment = map[string]string{
	"REDIS_USERNAME":     "caddy",
	"REDIS_PASSWORD":     "from the environment",
	"SENTINEL_PASSWORD":  "from the environment too",
	"REDIS_CERTIFICATES": "/etc/caddy/redis",
}

func TestExamples(t *testing.T) {
	for name, value := range exampleEnvironment {
		t.Setenv(name, value)
	}
	t.Setenv("LOG_FILE", filepath.Join(t.TempDir(), "access.log"))
	examples, err := filepath.Glob("caddyfile-examples/*.Caddyfile")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	for _, file := range examples {
		t.Run(filepath.Base(file), func(t *testing.T) { checkExample(t, file) })
	}
}

func checkExample(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !exampleHead.Match(text) {
		t.Error("want the lines Shows, Run and Expect at the head")
	}
	if string(caddyfile.Format(text)) != string(text) {
		t.Error("not as caddy fmt has it")
	}
	config, warnings, err := adapttest.Adapt(file, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	if err := adapttest.Validate(config); err != nil {
		t.Error(err)
	}
}
