package caddylogout

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-logout/caddy-logout/internal/signout"
)

// Logout serves the self-service endpoints that end and show sessions, in front of
// everything else:
//
//	GET    /self-service/logout/browser   makes a logout URL for this session
//	GET    /self-service/logout?token=…   follows it (POST works too)
//	DELETE /self-service/logout/api       ends the session of a token
//	GET    /self-service/errors?id=…      what went wrong, for a browser
//	GET    /sessions/whoami               the session of the request
//	GET    /sessions, DELETE /sessions, DELETE /sessions/{id}
//
// With paths, it also makes the app's own logout a real one. All other requests
// go on to the next handler.
type Logout struct {
	signout.Options

	handler *signout.Handler
}

// CaddyModule implements caddy.Module.
func (*Logout) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.logout", New: func() caddy.Module { return new(Logout) }}
}

// Provision implements caddy.Provisioner.
func (l *Logout) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	l.handler, err = signout.New(l.Options, app.site)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (l *Logout) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return l.handler.ServeHTTP(w, r, next)
}

// parseLogout reads the directive. A path behind its name is not a matcher, since the
// self-service endpoints have paths of their own; a named matcher is one.
func parseLogout(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	named := h.NextArg() && (h.Val() == "*" || strings.HasPrefix(h.Val(), "@"))
	h.Reset()
	var matcher caddy.ModuleMap
	if named {
		h.Next()
		var err error
		if matcher, err = h.ExtractMatcherSet(); err != nil {
			return nil, err
		}
	}
	l := new(Logout)
	if err := l.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, l), nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	logout [<matcher>] [<path…>] {
//		sessions_api    [on|off]
//		sessions_page   <path>
//		app_first       [on|off]
//		app_timeout     <duration>
//		keep_response   [on|off]
//		return_url      <url>
//		query           <path> <name>=<value>…
//		logout_on       { … }
//		strip_cookies   <name…> { … }
//		clear_site_data cache|cookies|storage…
//	}
func (l *Logout) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	for d.NextArg() {
		if err := signout.ValidateLogoutPath(d.Val()); err != nil {
			return d.WrapErr(err)
		}
		l.Paths = append(l.Paths, d.Val())
	}
	if err := eachOption(d, l.unmarshalOption, "query", "logout_on", "strip_cookies"); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return d.Errf("logout: %w", err)
	}
	return nil
}

func (l *Logout) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "sessions_api":
		return switchArg(d, &l.SessionsAPI)
	case "sessions_page":
		return checkedArg(d, &l.SessionsPage, signout.ValidateSessionsPage)
	case "app_first":
		return switchArg(d, &l.AppFirst)
	case "app_timeout":
		return durationArg(d, &l.AppTimeout, false)
	case "keep_response":
		var keep *bool
		if err := switchArg(d, &keep); err != nil {
			return err
		}
		l.KeepResponse = *keep
		return nil
	case "return_url":
		return checkedArg(d, &l.ReturnURL, validateDefaultReturnURL)
	case "query":
		return l.unmarshalQuery(d)
	case "logout_on":
		return l.unmarshalLogoutOn(d)
	case "strip_cookies":
		return l.unmarshalStripCookies(d)
	case "clear_site_data":
		if l.ClearSiteData = d.RemainingArgs(); len(l.ClearSiteData) == 0 {
			return d.ArgErr()
		}
		return nil
	default:
		return d.Errf("unknown option %q of logout: want sessions_api, sessions_page, app_first, app_timeout, keep_response, return_url, query, logout_on, strip_cookies or clear_site_data", option)
	}
}

// unmarshalQuery reads:
//
//	query <path> <name>=<value>…
func (l *Logout) unmarshalQuery(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("query: want a path and a parameter, as in /index.php action=logout")
	}
	if err := signout.ValidateLogoutPath(args[0]); err != nil {
		return d.Errf("query: %w", err)
	}
	q := signout.LogoutQuery{Path: args[0], Values: make(map[string]string)}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return d.Errf("query: %q is not a parameter like action=logout", arg)
		}
		if _, twice := q.Values[name]; twice {
			return d.Errf("query: %s is given twice", name)
		}
		q.Values[name] = value
	}
	l.Query = append(l.Query, q)
	return nil
}

// unmarshalLogoutOn reads:
//
//	logout_on {
//		status   <code…>
//		header   <name> [<value>]
//		location <beginning…>
//	}
func (l *Logout) unmarshalLogoutOn(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	var on signout.LogoutOn
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		switch option {
		case "status":
			for _, arg := range args {
				class, isClass := strings.CutSuffix(arg, "xx")
				code, err := strconv.Atoi(class)
				if err != nil || isClass != (code <= 5) {
					return d.Errf("status: %q is not a code like 303, nor a class like 3xx", arg)
				}
				on.StatusCode = append(on.StatusCode, code)
			}
		case "header":
			if len(args) > 2 {
				return d.ArgErr()
			}
			if on.Headers == nil {
				on.Headers = make(http.Header)
			}
			on.Headers.Add(args[0], append(args, "*")[1])
		case "location":
			on.Location = append(on.Location, args...)
		default:
			return d.Errf("unknown option %q of logout_on: want status, header or location", option)
		}
	}
	l.LogoutOn = append(l.LogoutOn, on)
	return nil
}

// unmarshalStripCookies reads:
//
//	strip_cookies <name…> {
//		domain <domain…>
//		path   <path…>
//	}
func (l *Logout) unmarshalStripCookies(d *caddyfile.Dispenser) error {
	s := signout.StripCookies{Names: d.RemainingArgs()}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		args := d.RemainingArgs()
		switch option {
		case "domain":
			s.Domains = append(s.Domains, args...)
		case "path":
			s.Paths = append(s.Paths, args...)
		default:
			return d.Errf("unknown option %q of strip_cookies: want domain or path", option)
		}
		if len(args) == 0 {
			return d.ArgErr()
		}
	}
	if err := s.Validate(); err != nil {
		return d.Errf("strip_cookies: %w", err)
	}
	l.StripCookies = append(l.StripCookies, s)
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Logout)(nil)
	_ caddy.Validator             = (*Logout)(nil)
	_ caddyhttp.MiddlewareHandler = (*Logout)(nil)
	_ caddyfile.Unmarshaler       = (*Logout)(nil)
)
