package integration_test

import (
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-logout/caddy-logout"
)

// asCaddy is the environment variable that turns the test binary into Caddy: a
// process of its own, that can be killed, built with the flags of the test run,
// race detector included.
const asCaddy = "CADDY_LOGOUT_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) == "1" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}
