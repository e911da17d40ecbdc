package storetest

import (
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/session"
)

// Bench measures a store, and closes it: what a check, a sign-in and a logout
// cost.
func Bench(b *testing.B, store session.Store) {
	b.Helper()
	defer store.Close()
	ctx := b.Context()
	end := time.Now().Add(time.Hour)
	key := NewKey()
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
		{"create", func() error { return store.Create(ctx, NewKey(), entry) }},
		{"revoke", func() error { _, err := store.Revoke(ctx, NewKey(), "alice", end, end); return err }},
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
