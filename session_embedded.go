package caddylogout

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
)

// EmbeddedStore keeps sessions in one file (bbolt), with no server. Every write
// is synced to disk before it is acknowledged. One process at a time can have
// the file open.
type EmbeddedStore struct {
	// File is the path of the file; it and its folder are made if missing, readable
	// by their owner only. Placeholders such as `{env.*}` are replaced at start. A
	// relative path is relative to the working directory. Default:
	// `caddy-logout/sessions.db` in Caddy's data directory.
	File string `json:"file,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (EmbeddedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sessions.stores.embedded",
		New: func() caddy.Module { return new(EmbeddedStore) },
	}
}

// Provision finds the path of the file. It touches no file.
func (s *EmbeddedStore) Provision(caddy.Context) error {
	if s.File == "" {
		s.File = filepath.Join(caddy.AppDataDir(), "caddy-logout", "sessions.db")
	}
	file, err := caddy.NewReplacer().ReplaceOrErr(s.File, true, true)
	if err != nil {
		return fmt.Errorf("embedded store: file: %w", err)
	}
	if s.File, err = filepath.Abs(file); err != nil {
		return fmt.Errorf("embedded store: file: %w", err)
	}
	return nil
}

// PoolKey names the store by the path of its file.
func (s *EmbeddedStore) PoolKey() string { return "embedded:" + s.File }

// Place implements [session.Located].
func (s *EmbeddedStore) Place() []session.Setting {
	return []session.Setting{{Option: "file", Value: s.File}}
}

// Open opens the file, or makes it. The error names the file, and says so if
// another process has it open.
func (s *EmbeddedStore) Open() (session.Store, error) {
	return boltstore.Open(s.File, time.Now, func() *zap.Logger { return caddy.Log().Named("sessions.embedded") })
}

// UnmarshalCaddyfile reads the embedded store's settings:
//
//	embedded [<file>] {
//		file <file>
//	}
func (s *EmbeddedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the store
	if d.NextArg() {
		if s.File = d.Val(); s.File == "" {
			return d.Err("file: want a path")
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, func(d *caddyfile.Dispenser, option string) error {
		switch {
		case option != "file":
			return d.Errf("unknown option %q of the embedded store: want file", option)
		case s.File != "":
			return givenTwice(d, option)
		}
		return oneArg(d, &s.File)
	})
}

// Interface guards.
var (
	_ caddy.Module          = (*EmbeddedStore)(nil)
	_ caddy.Provisioner     = (*EmbeddedStore)(nil)
	_ caddyfile.Unmarshaler = (*EmbeddedStore)(nil)
	_ session.StoreModule   = (*EmbeddedStore)(nil)
	_ session.Located       = (*EmbeddedStore)(nil)
)
