package integration_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
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
	waitSideBySide()
	os.Exit(m.Run())
}

// waitSideBySide runs two parallel tests a core, unless -parallel says otherwise: most
// of them wait most of the time, for servers to start, to fail and to come back.
func waitSideBySide() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}
