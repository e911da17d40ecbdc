package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// profileFor is how long a profile is taken.
const profileFor = 6 * time.Second

// benchProfile writes a CPU profile of the gate under load. Build a Caddy with
// symbols for it: go build -o bin/caddy ./cmd/caddy.
func (b *bench) benchProfile(ctx context.Context) error {
	n := 1000
	if flows[b.o.flow].once {
		n = 5 * enough
	}
	file, err := b.credentials(ctx, "profile", n)
	if err != nil {
		return err
	}
	cache := b.cacheOff
	if b.o.cached {
		cache = ""
	}
	gate, err := b.startCaddy(ctx, b.gate(cache))
	if err != nil {
		return err
	}
	defer gate.Stop()
	loaded := make(chan error, 1)
	go func() {
		m, err := b.load(ctx, b.sideOf("gate", file, gate), b.o.flow, b.o.connections, profileFor+time.Second)
		fmt.Fprintf(os.Stderr, "%.0f requests/s, %.1f µs each, Redis reads %.2f times\n", m.PerSecond, m.CPU, m.Reads)
		loaded <- err
	}()
	err = fetchProfile(ctx, gate, b.o.profile)
	if loadErr := <-loaded; err == nil {
		err = loadErr
	}
	return err
}

// fetchProfile writes the profile that the admin endpoint takes.
func fetchProfile(ctx context.Context, gate *rig.Caddy, name string) error {
	_, profile, err := rig.Fetch(ctx, gate.AdminURL(fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(profileFor.Seconds()))))
	if err != nil {
		return err
	}
	return os.WriteFile(name, profile, 0o644)
}
