// This file holds the settings of the near cache, and its life: as long as the
// store, through reloads.

package caddylogout

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
)

// NearCache sets up the near cache: sessions that were looked up a moment ago
// are served from memory, as long as the store is proven to report every change
// of them. It is used with stores that can: Redis. The embedded store needs
// none.
type NearCache struct {
	// Off turns it off: each request asks the store.
	Off bool `json:"off,omitempty"`
	// Entries is how many sessions it keeps at most. Default: 100000.
	Entries int `json:"entries,omitempty"`
	// MaxStale accepts, for a Redis that refuses to report changes, that a
	// session which was revoked elsewhere is served here for this long, at most
	// 1m. Where changes are reported, it changes nothing. Default: none, which
	// leaves the cache off on such a server.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`
}

// errCacheEmbedded refuses settings that would do nothing.
var errCacheEmbedded = errors.New("goes with store redis; the embedded store reads from memory as it is")

// isSet reports whether anything was set up that a cache is needed for.
func (n *NearCache) isSet() bool { return n.Entries != 0 || n.MaxStale != 0 }

func (n *NearCache) validate() error {
	switch {
	case n.Off && n.isSet():
		return errors.New("off and other settings contradict each other")
	case n.Entries < 0 || n.Entries > nearcache.MaxEntries:
		return fmt.Errorf("entries: want 1 to %d", nearcache.MaxEntries)
	case n.MaxStale < 0 || time.Duration(n.MaxStale) > nearcache.MaxLife:
		return fmt.Errorf("max_stale: want more than 0 and at most %v", nearcache.MaxLife)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	near_cache off
//	near_cache {
//		entries   <n>
//		max_stale <duration>
//	}
func (n *NearCache) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" {
			return d.Errf("near_cache: want off or a block, not %q", d.Val())
		}
		n.Off = true
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, n.unmarshalOption); err != nil {
		return err
	}
	if *n == (NearCache{}) {
		return d.Err("near_cache: want off or a block; it is on by itself")
	}
	return nil
}

func (n *NearCache) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	var err error
	switch option {
	case "entries":
		err = n.unmarshalEntries(d)
	case "max_stale":
		err = durationArg(d, &n.MaxStale, false)
	default:
		err = d.Errf("unknown option %q of near_cache: want entries or max_stale", option)
	}
	if err != nil {
		return err
	}
	if err := n.validate(); err != nil {
		return d.Errf("near_cache: %w", err)
	}
	return nil
}

func (n *NearCache) unmarshalEntries(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	entries, err := strconv.Atoi(raw)
	if err != nil || entries < 1 {
		return d.Errf("near_cache: entries: want 1 to %d", nearcache.MaxEntries)
	}
	n.Entries = entries
	return nil
}

// config is what a manager is to know of it.
func (n *NearCache) config() manager.CacheConfig {
	return manager.CacheConfig{Off: n.Off, Entries: n.Entries, MaxStale: time.Duration(n.MaxStale)}
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*NearCache)(nil)
)
