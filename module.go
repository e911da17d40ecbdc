// Package caddylogout gives Caddy sessions: a gate in front of an app, and a
// logout that ends a session for real.
package caddylogout

import _ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
