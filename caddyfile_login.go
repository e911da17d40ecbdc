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
//		accounts           <file>
//		default_return_url <url>
//	}
func (l *Login) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive itself
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenOptions)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.once(d, option); err != nil {
			return err
		}
		var err error
		switch option {
		case "accounts":
			if err = stringArg(d, &l.Accounts); err == nil && l.Accounts == "" {
				err = d.Err("accounts: want the name of a file")
			}
		case "default_return_url":
			err = checkedArg(d, &l.DefaultReturnURL, validateDefaultReturnURL)
		default:
			err = d.Errf("unknown option %q of login: want accounts or default_return_url", option)
		}
		if err != nil {
			return err
		}
	}
	if l.Accounts == "" {
		return d.Err("login: want accounts <file>")
	}
	return nil
}

// Interface guard.
var _ caddyfile.Unmarshaler = (*Login)(nil)
