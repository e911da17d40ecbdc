package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// everywhere is how many sessions a person has before logging out everywhere.
const everywhere = 10_000

// cached is how many sessions measure the size of the near cache.
const cached = 20_000

// benchGrowth fills the store step by step. The near cache is off, so that each check
// queries the store.
func (b *bench) benchGrowth(ctx context.Context, out *rig.Report) error {
	gate, err := b.startCaddy(ctx, b.gate(b.cacheOff))
	if err != nil {
		return err
	}
	defer gate.Stop()
	if err := b.client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	sizes := []int{1_000, 100_000}
	if b.o.million {
		sizes = append(sizes, 1_000_000)
	}
	out.Heading("With more sessions in the store")
	table := out.Table("sessions", "check: CPU µs", "p50", "p99", "logout: CPU µs", "p50", "p99",
		"end 10 of one person", "end 1,000", fmt.Sprintf("end %d", everywhere))
	have, bytesEach := 0, 0.0
	for _, size := range sizes {
		before := b.memory(ctx)
		if _, err := b.fill(ctx, size-have, ""); err != nil {
			return err
		}
		bytesEach = float64(b.memory(ctx)-before) / float64(size-have)
		have = size
		row := []any{size}
		for _, flow := range []string{"check", "submit"} {
			var samples []sample
			for range 5 {
				m, err := b.flowOnce(ctx, gate, flow, 2, 1500, b.o.each)
				if err != nil {
					return err
				}
				samples = append(samples, m)
			}
			row = append(row, tenths(median(samples, cpu)), micros(median(samples, p50)), micros(median(samples, p99)))
		}
		for _, n := range []int{10, 1_000, everywhere} {
			took, err := b.endAll(ctx, gate, n)
			if err != nil {
				return err
			}
			row = append(row, took)
		}
		table.Row(row...)
	}
	table.End()
	return b.benchMemory(ctx, out, bytesEach)
}

// endAll ends the sessions of a person who has n, and returns how long it took.
func (b *bench) endAll(ctx context.Context, gate *rig.Caddy, n int) (time.Duration, error) {
	sessions, err := b.fill(ctx, n, "everywhere-"+newSession("").key[:8])
	if err != nil {
		return 0, err
	}
	c, err := dial(ctx, gate.Addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	start := time.Now()
	err = c.ask(200, "DELETE /sessions?all=true"+get+"X-Session-Token: "+sessions[0].credential+"\r\n\r\n")
	took := time.Since(start)
	var answer struct{ Count int }
	if err == nil {
		err = json.Unmarshal(c.body, &answer)
	}
	if err == nil && answer.Count != n {
		err = fmt.Errorf("%d sessions of %d were ended", answer.Count, n)
	}
	return took.Round(10 * time.Microsecond), err
}

// memory returns the bytes that Redis has in use.
func (b *bench) memory(ctx context.Context) int {
	info, _ := b.client.Info(ctx, "memory").Result()
	_, rest, _ := strings.Cut(info, "used_memory:")
	number, _, _ := strings.Cut(rest, "\r\n")
	n, _ := strconv.Atoi(number)
	return n
}

// benchMemory measures the size of a session in Redis and in the near cache.
func (b *bench) benchMemory(ctx context.Context, out *rig.Report, bytesEach float64) error {
	sessions, err := b.fill(ctx, cached, "")
	if err != nil {
		return err
	}
	s := sessions[0]
	value, err := b.client.MemoryUsage(ctx, sessionName(s.key), 0).Result()
	if err != nil {
		return err
	}
	text, err := b.client.Get(ctx, sessionName(s.key)).Bytes()
	if err != nil {
		return err
	}
	gate, err := b.startCaddy(ctx, b.gate(""))
	if err != nil {
		return err
	}
	defer gate.Stop()
	c, err := dial(ctx, gate.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := flows["submit"].run(c, s.credential); err != nil {
		return err
	}
	tombstone, err := b.client.MemoryUsage(ctx, prefix+"revoked:{"+s.key+"}", 0).Result()
	if err != nil {
		return err
	}
	out.Heading("Memory")
	out.Text("A session of a person with one session, whose JSON is %d bytes, takes %.0f bytes of Redis' memory: "+
		"%d the session under its key, the rest the index of the person and Redis' own tables. "+
		"A tombstone takes %d bytes.", len(text), bytesEach, value, tombstone)
	if b.cacheOff == "" {
		return nil
	}
	return b.weighCache(ctx, out, gate, c, sessions[1:])
}

func (b *bench) weighCache(ctx context.Context, out *rig.Report, gate *rig.Caddy, c *connection, sessions []session) error {
	before, err := gate.Heap(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := flows["whoami"].run(c, s.credential); err != nil {
			return err
		}
	}
	after, err := gate.Heap(ctx)
	if err != nil {
		return err
	}
	out.Text("In the near cache each of %d such sessions takes %.0f bytes of Caddy's heap.",
		len(sessions), (after-before)/float64(len(sessions)))
	return nil
}

// benchCheck runs the benchmarks of the check itself, without servers around it.
func (b *bench) benchCheck(ctx context.Context, out *rig.Report) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Lookup|Authenticate|Decode|Cookie)", "-benchmem", ".")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go test: %w\n%s", err, text)
	}
	var lines []string
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("Benchmark")) {
			lines = append(lines, strings.TrimSpace(string(line)))
		}
	}
	out.Heading("The check itself")
	out.Text("```\n%s\n```", strings.Join(lines, "\n"))
	return nil
}
