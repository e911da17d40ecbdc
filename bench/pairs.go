package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// side is the server under measurement in one half of a pair.
type side struct {
	name        string
	addr        string
	processes   []*rig.Process // whose CPU counts
	credentials string
}

// sample is one measurement.
type sample struct {
	loadResult
	// PerSecond is the throughput.
	PerSecond float64
	// CPU is microseconds of CPU for each flow done, of the processes together.
	CPU float64
	// Commands is how many commands of Redis each took, Reads how often Redis read
	// from a connection for it: a pipeline is one read.
	Commands, Reads float64
}

// sideOf is a side of one Caddy with the gate, and of its Redis.
func (b *bench) sideOf(name, credentials string, server *rig.Caddy) side {
	return side{
		name: name, addr: server.Addr, credentials: credentials,
		processes: []*rig.Process{server.Process(), b.redis.Process},
	}
}

// load runs the generator against a side.
func (b *bench) load(ctx context.Context, s side, flow string, connections int, lasts time.Duration) (sample, error) {
	spec, err := json.Marshal(loadSpec{
		Addr: s.addr, Connections: connections, For: lasts, Flow: flow, Credentials: s.credentials,
	})
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, b.self, "load")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(spec), os.Stderr
	commands, reads := b.redisWork(ctx)
	cpu := rig.CPU(s.processes...)
	out, err := cmd.Output()
	if err != nil {
		return sample{}, fmt.Errorf("load on %s: %w", s.name, err)
	}
	used := rig.CPU(s.processes...) - cpu
	commandsAfter, readsAfter := b.redisWork(ctx)
	var m sample
	if err := json.Unmarshal(out, &m.loadResult); err != nil {
		return sample{}, err
	}
	b.unavailable += m.Unavailable
	done := float64(m.Done)
	m.PerSecond, m.CPU = done/m.Elapsed.Seconds(), used/done*1e6
	m.Commands, m.Reads = float64(commandsAfter-commands-1)/done, float64(readsAfter-reads-1)/done
	return m, nil
}

// redisWork returns how many commands Redis has done so far, this one left out,
// and how often it has read from a connection.
func (b *bench) redisWork(ctx context.Context) (commands, reads int) {
	info, _ := b.client.Info(ctx, "stats").Result()
	count := func(name string) int {
		_, rest, _ := strings.Cut(info, name+":")
		number, _, _ := strings.Cut(rest, "\r\n")
		n, _ := strconv.Atoi(number)
		return n
	}
	return count("total_commands_processed"), count("total_reads_processed")
}

// pairs are the samples of one row.
type pairs struct{ a, b []sample }

// half measures one half of a pair, for a while.
type half func(ctx context.Context, lasts time.Duration) (sample, error)

// check sends requests through the gate or the proxy of a side.
func (b *bench) check(s side, connections int) half {
	return func(ctx context.Context, lasts time.Duration) (sample, error) {
		return b.load(ctx, s, "check", connections, lasts)
	}
}

// measurePairs measures two halves in turn, each first in every other pair, so that
// other work of the machine falls on both.
func (b *bench) measurePairs(ctx context.Context, x, y half) (pairs, error) {
	var p pairs
	for _, measure := range []half{x, y} {
		if _, err := measure(ctx, 500*time.Millisecond); err != nil {
			return p, err
		}
	}
	for i := range b.o.pairs {
		order := []half{x, y}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		var got [2]sample
		for j, measure := range order {
			var err error
			if got[j], err = measure(ctx, b.o.each); err != nil {
				return p, err
			}
		}
		if i%2 == 1 {
			slices.Reverse(got[:])
		}
		p.a, p.b = append(p.a, got[0]), append(p.b, got[1])
	}
	return p, nil
}

// median returns the median of the values that pick takes from samples.
func median(samples []sample, pick func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, pick(s))
	}
	return middle(values)
}

// middle sorts values and returns their median.
func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[n/2] + values[(n-1)/2]) / 2
}

// ratios returns the median, the least and the greatest of y to x in each pair.
func (p pairs) ratios(pick func(sample) float64) (median, least, most float64) {
	values := make([]float64, 0, len(p.a))
	for i := range p.a {
		values = append(values, pick(p.b[i])/pick(p.a[i]))
	}
	median = middle(values)
	return median, values[0], values[len(values)-1]
}

func throughput(s sample) float64 { return s.PerSecond }
func cpu(s sample) float64        { return s.CPU }
func commands(s sample) float64   { return s.Commands }
func reads(s sample) float64      { return s.Reads }
func p50(s sample) float64        { return float64(s.P50) }
func p99(s sample) float64        { return float64(s.P99) }

func rounded(v float64) string    { return strconv.FormatFloat(v, 'f', 0, 64) }
func tenths(v float64) string     { return strconv.FormatFloat(v, 'f', 1, 64) }
func hundredths(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
func micros(v float64) string     { return time.Duration(v).Round(time.Microsecond).String() }

// benchProxy measures the gate and its alternatives against the bare proxy.
func (b *bench) benchProxy(ctx context.Context, out *rig.Report) error {
	thousand, err := b.credentials(ctx, "thousand", 1000)
	if err != nil {
		return err
	}
	one, err := b.credentials(ctx, "one", 1)
	if err != nil {
		return err
	}
	checker, err := b.Role(ctx, "checker", b.redis.Addr)
	if err != nil {
		return err
	}
	defer checker.Stop()
	sites := []rig.Site{b.bare(), b.bare(), b.gate(""), b.gate(b.cacheOff), b.forwardAuth(checker)}
	servers := make([]*rig.Process, 0, len(sites))
	for _, site := range sites {
		server, err := b.startCaddy(ctx, site)
		if err != nil {
			return err
		}
		defer server.Stop()
		servers = append(servers, server.Process())
	}
	of := func(name, credentials string, processes ...*rig.Process) side {
		return side{name: name, addr: processes[0].Addr, processes: processes, credentials: credentials}
	}
	bare := of("bare", thousand, servers[0])
	rows := []side{
		of("bare `reverse_proxy` again: the noise", thousand, servers[1]),
		of("gate, near cache warm, 1 session", one, servers[2], b.redis.Process),
		of("gate, near cache warm, 1,000 sessions in turn", thousand, servers[2], b.redis.Process),
		of("gate, `near_cache off`, 1,000 sessions in turn", thousand, servers[3], b.redis.Process),
		of("`forward_auth` to a checker that does one `GET`", thousand, servers[4], b.redis.Process, checker),
	}
	if b.cacheOff == "" {
		out.Text("This Caddy has no near cache: all rows of the gate ask Redis.")
	}
	out.Heading("Behind the gate, against the bare proxy")
	table := out.Table("", "connections", "requests/s", "of bare", "min … max",
		"CPU µs/request", "of bare", "min … max", "Redis commands", "reads")
	for _, connections := range []int{2, 64} {
		for i, row := range rows {
			p, err := b.measurePairs(ctx, b.check(bare, connections), b.check(row, connections))
			if err != nil {
				return err
			}
			if i == 0 {
				table.Row("bare `reverse_proxy`", connections, rounded(median(p.a, throughput)), "1", "", tenths(median(p.a, cpu)), "1", "", "0", "0")
			}
			t, tMin, tMax := p.ratios(throughput)
			c, cMin, cMax := p.ratios(cpu)
			table.Row(row.name, connections, rounded(median(p.b, throughput)), hundredths(t), hundredths(tMin)+" … "+hundredths(tMax),
				tenths(median(p.b, cpu)), hundredths(c), hundredths(cMin)+" … "+hundredths(cMax), tenths(median(p.b, commands)), hundredths(median(p.b, reads)))
		}
	}
	table.End()
	return nil
}
