package caddylogout

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/pages"
)

// DurableLogout accepts a logout while the store is unavailable: this node notes it
// on disk first, refuses the session at once, and ends it in the store when that is
// back. Until then no response says that the logout is done. Without this option the
// response is 503, and nothing changes.
type DurableLogout struct {
	// Journal is the file of pending logouts. Each Caddy process needs its own.
	// Default: caddy-logout/pending-logouts.db in Caddy's data directory.
	// Placeholders are expanded at start.
	Journal string `json:"journal,omitempty"`
}

// errDurableEmbedded means that a journal would never hold anything.
var errDurableEmbedded = errors.New("durable_logout: is for a store that can be unavailable, such as redis; the embedded store cannot")

// journalFile returns the file of pending logouts, empty without durable_logout.
func (a *App) journalFile() (string, error) {
	if a.DurableLogout == nil {
		return "", nil
	}
	if !a.storeIsRemote() {
		return "", errDurableEmbedded
	}
	return a.DurableLogout.provision()
}

// provision finds the name of the file. It opens nothing.
func (d *DurableLogout) provision() (file string, err error) {
	file = d.Journal
	if file == "" {
		file = filepath.Join(caddy.AppDataDir(), "caddy-logout", "pending-logouts.db")
	}
	if file, err = caddy.NewReplacer().ReplaceOrErr(file, true, true); err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return "", fmt.Errorf("sessions: durable_logout: journal: %w", err)
	}
	return file, nil
}

const (
	// defaultMaxSessions is more than a person has devices, and as many as the page
	// of sessions shows.
	defaultMaxSessions = 100
	// maxMaxSessions bounds the bound: a sign-in beyond the bound reads all sessions
	// of the person, to end the oldest.
	maxMaxSessions = 10_000
)

var errMaxSessions = fmt.Errorf("want a number from 1 to %d, or off", maxMaxSessions)

func validateMaxSessions(n *int) error {
	if n != nil && (*n < 0 || *n > maxMaxSessions) {
		return errMaxSessions
	}
	return nil
}

// unmarshalMaxSessions reads the option max_sessions <n>|off.
func (a *App) unmarshalMaxSessions(d *caddyfile.Dispenser) error {
	var raw string
	if err := stringArg(d, &raw); err != nil {
		return err
	}
	n := 0
	if raw != "off" {
		var err error
		if n, err = strconv.Atoi(raw); err != nil || n < 1 || n > maxMaxSessions {
			return d.Errf("max_sessions: %q: %w", raw, errMaxSessions)
		}
	}
	a.MaxSessions = &n
	return nil
}

// NearCache sets up the near cache, which serves recent sessions from memory as long
// as the store is proven to notify of every change. It lives as long as the store,
// through reloads. Only Redis notifies; the embedded store needs no near cache.
type NearCache struct {
	// Off turns it off: each request queries the store.
	Off bool `json:"off,omitempty"`
	// Entries is how many sessions it keeps at most. Default: 100000.
	Entries int `json:"entries,omitempty"`
	// MaxStale is for a Redis that refuses change notifications. It lets this server
	// serve a session from memory for this long after another server revoked it, at
	// most 1m. With change notifications it has no effect. Default: none, which
	// leaves the cache off on such a server.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`
}

// errCacheEmbedded refuses settings that would do nothing.
var errCacheEmbedded = errors.New("goes with store redis; the embedded store reads from memory as it is")

// isSet reports whether an option is set that needs a cache.
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

// config are the settings for a manager.
func (n *NearCache) config() manager.CacheConfig {
	return manager.CacheConfig{Off: n.Off, Entries: n.Entries, MaxStale: time.Duration(n.MaxStale)}
}

// Pages changes the pages that we show to people. See docs/pages.md.
type Pages struct {
	// Folder holds templates and a style sheet that replace ours of the same name:
	// login.html, page.css and so on. It is read at start and at each reload.
	// Default: none. Placeholders are expanded at start; a relative name is relative
	// to the working directory.
	Folder string `json:"folder,omitempty"`
	// Language is the language of the texts as in HTML's lang (BCP 47), such as
	// de or pt-BR. It translates nothing. Default: en.
	Language string `json:"language,omitempty"`
	// Texts are sentences by key, such as login.button, that replace ours. A word in
	// braces is a placeholder of the sentence. They are text, not HTML.
	Texts map[string]string `json:"texts,omitempty"`
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	pages [<folder>] {
//		language <tag>
//		text     <key> <text>
//	}
func (p *Pages) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		p.Folder = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, p.unmarshalOption, "text"); err != nil {
		return err
	}
	if p.Folder == "" && p.Language == "" && len(p.Texts) == 0 {
		return d.Err("pages: want a folder, or a block with language or text")
	}
	return nil
}

func (p *Pages) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "language":
		return checkedArg(d, &p.Language, pages.ValidateLanguage)
	case "text":
		var key, text string
		if !d.AllArgs(&key, &text) {
			return d.Err("text: want a key and a text in quotes")
		}
		if _, twice := p.Texts[key]; twice {
			return d.Errf("text: %s is given twice", key)
		}
		if err := pages.ValidateText(key, text); err != nil {
			return d.Errf("text: %w", err)
		}
		if p.Texts == nil {
			p.Texts = make(map[string]string)
		}
		p.Texts[key] = text
		return nil
	default:
		return d.Errf("unknown option %q of pages: want language or text", option)
	}
}

// load reads the pages.
func (p *Pages) load() (*pages.Set, error) {
	for _, key := range slices.Sorted(maps.Keys(p.Texts)) { // in order: several mistakes always give the same error
		if err := pages.ValidateText(key, p.Texts[key]); err != nil {
			return nil, fmt.Errorf("sessions: pages: texts: %w", err)
		}
	}
	folder, err := caddy.NewReplacer().ReplaceOrErr(p.Folder, true, true)
	if err != nil {
		return nil, fmt.Errorf("sessions: pages: %w", err)
	}
	set, err := pages.New(pages.Options{Folder: folder, Texts: p.Texts, Language: p.Language})
	if err != nil {
		return nil, fmt.Errorf("sessions: pages: %w", err)
	}
	return set, nil
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*NearCache)(nil)
)
