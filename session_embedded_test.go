package caddylogout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func TestEmbeddedConfig(t *testing.T) {
	t.Setenv("CADDY_LOGOUT_DIR", t.TempDir())
	dir := os.Getenv("CADDY_LOGOUT_DIR")
	here, err := os.Getwd()
	storetest.NoError(t, err)
	cases := []struct{ name, file, want, err string }{
		{"default", "", filepath.Join(caddy.AppDataDir(), "caddy-logout", "sessions.db"), ""},
		{"absolute", filepath.Join(dir, "s.db"), filepath.Join(dir, "s.db"), ""},
		{"relative", "s.db", filepath.Join(here, "s.db"), ""},
		{"not clean", dir + "/x/../s.db", filepath.Join(dir, "s.db"), ""},
		{"placeholder", "{env.CADDY_LOGOUT_DIR}/s.db", filepath.Join(dir, "s.db"), ""},
		{"unset", "{env.CADDY_LOGOUT_UNSET}/s.db", "", "{env.CADDY_LOGOUT_UNSET}"},
		{"unknown", "{no.such}/s.db", "", "{no.such}"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			store := EmbeddedStore{File: tc.file}
			err := store.Provision(caddy.Context{})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%v, want an error that names %s", err, tc.err)
				}
				return
			}
			storetest.NoError(t, err)
			if store.File != tc.want || store.PoolKey() != "embedded:"+tc.want {
				t.Errorf("file %s, pool key %s, want %s", store.File, store.PoolKey(), tc.want)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("provisioning made %v, %v", entries, err)
	}
}
