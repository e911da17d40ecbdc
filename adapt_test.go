package caddylogout

import (
	"flag"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/adapttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestAdapt(t *testing.T) {
	t.Setenv("APP_URL", "https://app.example.com")
	t.Setenv("STATE_DIR", "/var/lib/caddy")
	t.Setenv("REDIS_PASSWORD", "from the environment")
	t.Setenv("PAGES_DIR", "testdata/pages")
	adapttest.Run(t, "testdata/adapt", *update)
}
