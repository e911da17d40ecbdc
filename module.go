package caddylogout

import _ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
