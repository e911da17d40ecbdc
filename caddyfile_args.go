package caddylogout

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// eachOption calls read for each option of a block. An option that is given twice is
// an error, as the second would silently win, unless it is repeatable.
func eachOption(
	d *caddyfile.Dispenser, read func(d *caddyfile.Dispenser, option string) error, repeatable ...string,
) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] && !slices.Contains(repeatable, option) {
			return givenTwice(d, option)
		}
		seen[option] = true
		if err := read(d, option); err != nil {
			return err
		}
	}
	return nil
}

// givenTwice is the error of a repeated option.
func givenTwice(d *caddyfile.Dispenser, option string) error {
	return d.Errf("%s is given twice", option)
}

// stringArg reads exactly one argument.
func stringArg(d *caddyfile.Dispenser, to *string) error {
	if !d.AllArgs(to) {
		return d.ArgErr()
	}
	return nil
}

// checkedArg reads exactly one argument and checks it, unless it holds a placeholder:
// its value is known only at start.
func checkedArg(d *caddyfile.Dispenser, to *string, check func(string) error) error {
	option := d.Val()
	if err := stringArg(d, to); err != nil {
		return err
	}
	if hasPlaceholder(*to) {
		return nil
	}
	if err := check(*to); err != nil {
		return d.Errf("%s: %w", option, err)
	}
	return nil
}

// validateDefaultReturnURL checks a default return URL.
func validateDefaultReturnURL(value string) error {
	_, err := returnurl.ParseDefault(value)
	return err
}

func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// durationArg reads a duration; off is one where zero has a meaning.
func durationArg(d *caddyfile.Dispenser, to *caddy.Duration, mayBeOff bool) error {
	option := d.Val()
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	if mayBeOff && raw == "off" {
		return nil
	}
	duration, err := caddy.ParseDuration(raw)
	if err != nil || duration <= 0 {
		return d.Errf("%s: %q is not a duration like 30m, 24h or 7d", option, raw)
	}
	*to = caddy.Duration(duration)
	return nil
}

// switchArg reads on or off; the option alone means on.
func switchArg(d *caddyfile.Dispenser, to **bool) error {
	option, on := d.Val(), true
	if d.NextArg() {
		switch d.Val() {
		case "on":
		case "off":
			on = false
		default:
			return d.Errf("%s: want on or off, not %q", option, d.Val())
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	*to = &on
	return nil
}

// oneArg reads the one argument of an option, which is not empty. The errors
// here never print it: it may be a password.
func oneArg(d *caddyfile.Dispenser, to *string) error {
	option := d.Val()
	if !d.NextArg() || d.Val() == "" {
		return d.Errf("%s: want a value", option)
	}
	*to = d.Val()
	if d.NextArg() {
		return d.Errf("%s: want one value", option)
	}
	return nil
}

func someArgs(d *caddyfile.Dispenser, to *[]string) error {
	option := d.Val()
	if *to = d.RemainingArgs(); len(*to) == 0 {
		return d.Errf("%s: want at least one value", option)
	}
	return nil
}

func oneNumber(d *caddyfile.Dispenser, least int, to *int) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil || int(number) < least {
		return d.Errf("%s: want a whole number from %d", option, least)
	}
	*to = int(number)
	return nil
}

func oneDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	duration, err := caddy.ParseDuration(text)
	if err != nil || duration < time.Millisecond {
		return d.Errf("%s: want a duration from 1ms, such as 250ms", option)
	}
	*to = caddy.Duration(duration)
	return nil
}
