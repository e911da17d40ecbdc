// This file measures the stores: what a check, a sign-in and a logout cost.

package caddylogout

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
)

func BenchmarkEmbeddedStore(b *testing.B) {
	store, err := openEmbedded(filepath.Join(b.TempDir(), "sessions.db"), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkStore(b, store)
}

func BenchmarkRedisStore(b *testing.B) {
	config := RedisStore{Address: redistest.Start(b).Addr()}
	if err := config.Provision(caddy.Context{}); err != nil {
		b.Fatal(err)
	}
	store, err := config.Open()
	if err != nil {
		b.Fatal(err)
	}
	benchmarkStore(b, store)
}

func benchmarkStore(b *testing.B, store session.Store) {
	b.Helper()
	defer store.Close()
	ctx := b.Context()
	end := time.Now().Add(time.Hour)
	key := newKey()
	entry := session.Entry{Identity: "alice", Value: make([]byte, 400), ExpiresAt: end}
	if err := store.Create(ctx, key, entry); err != nil {
		b.Fatal(err)
	}
	calls := []struct {
		name string
		call func() error
	}{
		{"get", func() error { _, err := store.Get(ctx, key); return err }},
		{"get with use", func() error { _, err := store.GetWithUse(ctx, key); return err }},
		{"create", func() error { return store.Create(ctx, newKey(), entry) }},
		{"revoke", func() error { _, err := store.Revoke(ctx, newKey(), "alice", end, end); return err }},
	}
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+" at once", func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.call(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
