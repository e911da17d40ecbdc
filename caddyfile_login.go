// This file reads the login directive of a Caddyfile.

package caddylogout

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseLogin reads the login directive.
func parseLogin(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	l := new(Login)
	if err := l.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return l, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	login [<matcher>] {
//		accounts <file>
//	}
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive itself
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "accounts":
			if l.Accounts != "" {
				return d.Err("login: accounts is given twice")
			}
			if !d.AllArgs(&l.Accounts) {
				return d.ArgErr()
			}
			if l.Accounts == "" {
				return d.Err("login: accounts: want the name of a file")
			}
		default:
			return d.Errf("login: unknown option %q: want accounts", option)
		}
	}
	if l.Accounts == "" {
		return d.Err("login: want accounts <file>")
	}
	return nil
}

// Interface guard.
var _ caddyfile.Unmarshaler = (*Login)(nil)
