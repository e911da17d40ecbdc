// This file is for those who tune the gate: a profile of it under load, and a
// comparison with another build of it.

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileFor is how long a profile is taken.
const profileFor = 6 * time.Second

// benchProfile writes a CPU profile of the gate. Of a Caddy with symbols it tells
// more: go build -o bin/caddy ./cmd/caddy.
func (b *bench) benchProfile(ctx context.Context) error {
	n := 1000
	if flows[b.o.flow].once {
		n = 5 * enough
	}
	sessions, err := b.fill(ctx, n, "")
	if err != nil {
		return err
	}
	file, err := b.credentialFile("profile", sessions)
	if err != nil {
		return err
	}
	gate, err := b.startCaddy(ctx, b.gate(b.cacheOption()))
	if err != nil {
		return err
	}
	defer b.stop(gate.process)
	loaded := make(chan error, 1)
	go func() {
		s := side{name: "gate", addr: gate.addr, processes: []*process{gate.process, b.redis}, credentials: file}
		m, err := b.load(ctx, s, b.o.flow, b.o.connections, profileFor+time.Second)
		fmt.Fprintf(os.Stderr, "%.0f requests/s, %.1f µs each, Redis reads %.2f times\n", m.PerSecond, m.CPU, m.Reads)
		loaded <- err
	}()
	err = fetchProfile(ctx, gate.admin, b.o.profile)
	if loadErr := <-loaded; err == nil {
		err = loadErr
	}
	return err
}

// cacheOption turns the near cache off unless it is asked for.
func (b *bench) cacheOption() string {
	if b.o.cached {
		return ""
	}
	return b.cacheOff
}

func fetchProfile(ctx context.Context, admin, name string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, int(profileFor.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, resp.Body); err != nil {
		return err
	}
	return file.Close()
}

// benchAgainst compares the gate with that of another Caddy.
func (b *bench) benchAgainst(ctx context.Context, out *report) error {
	sessions, err := b.fill(ctx, 1000, "")
	if err != nil {
		return err
	}
	file, err := b.credentialFile("against", sessions)
	if err != nil {
		return err
	}
	other, err := filepath.Abs(b.o.against)
	if err != nil {
		return err
	}
	var sides []side
	for _, program := range []string{other, b.caddy} {
		server, err := b.startProgram(ctx, program, b.gate(b.cacheOption()))
		if err != nil {
			return err
		}
		defer b.stop(server.process)
		sides = append(sides, side{
			name: program, addr: server.addr, processes: []*process{server.process, b.redis}, credentials: file,
		})
	}
	table := out.table("connections", "requests/s", "of the other", "min … max", "CPU µs/request", "of the other", "min … max", "reads", "of the other")
	for _, connections := range []int{2, 16, 64} {
		p, err := b.measurePairs(ctx, sides[0], sides[1], connections)
		if err != nil {
			return err
		}
		t, tMin, tMax := p.ratios(throughput)
		c, cMin, cMax := p.ratios(cpu)
		table.row(connections, rounded(median(p.b, throughput)), hundredths(t), hundredths(tMin)+" … "+hundredths(tMax),
			tenths(median(p.b, cpu)), hundredths(c), hundredths(cMin)+" … "+hundredths(cMax),
			hundredths(median(p.b, reads)), hundredths(median(p.a, reads)))
	}
	return nil
}
