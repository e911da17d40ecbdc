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
	if err := eachOption(d, l.unmarshalOption); err != nil {
		return err
	}
	if l.Accounts == "" {
		return d.Err("login: want accounts <file>")
	}
	return nil
}

func (l *Login) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "accounts":
		if err := stringArg(d, &l.Accounts); err != nil {
			return err
		}
		if l.Accounts == "" {
			return d.Err("accounts: want the name of a file")
		}
		return nil
	case "default_return_url":
		return checkedArg(d, &l.DefaultReturnURL, validateDefaultReturnURL)
	default:
		return d.Errf("unknown option %q of login: want accounts or default_return_url", option)
	}
}

// Interface guard.
var _ caddyfile.Unmarshaler = (*Login)(nil)
