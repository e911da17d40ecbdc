// Command caddy is the Caddy server with the caddy-logout modules built in:
// what xcaddy would build, for machines where xcaddy cannot be installed.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-logout/caddy-logout"
)

func main() { caddycmd.Main() }
