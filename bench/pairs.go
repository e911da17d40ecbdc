// This file measures pairs: the bare proxy and another, in turn, so that what
// else the machine does falls on both.

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
)

// side is what one half of a pair is measured on.
type side struct {
	name        string
	addr        string
	processes   []*process // whose CPU counts
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
	// from a connection for it: commands that go together are one read.
	Commands, Reads float64
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
	cpu := cpuOf(s.processes...)
	out, err := cmd.Output()
	if cmd.ProcessState != nil {
		b.addOwn((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	}
	if err != nil {
		return sample{}, fmt.Errorf("load on %s: %w", s.name, err)
	}
	used := cpuOf(s.processes...) - cpu
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

// pairs is what the pairs of one row came to.
type pairs struct{ a, b []sample }

// measurePairs measures two sides in turn, each first in every other pair.
func (b *bench) measurePairs(ctx context.Context, x, y side, connections int) (pairs, error) {
	var p pairs
	for _, s := range []side{x, y} {
		if _, err := b.load(ctx, s, "check", connections, 500*time.Millisecond); err != nil {
			return p, err
		}
	}
	for i := range b.o.pairs {
		order := []side{x, y}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		var got [2]sample
		for j, s := range order {
			var err error
			if got[j], err = b.load(ctx, s, "check", connections, b.o.each); err != nil {
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

// median returns the middle one of what pick takes from samples.
func median(samples []sample, pick func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, pick(s))
	}
	slices.Sort(values)
	n := len(values)
	return (values[n/2] + values[(n-1)/2]) / 2
}

// ratios returns the median, the least and the greatest of y to x in each pair.
func (p pairs) ratios(pick func(sample) float64) (middle, least, most float64) {
	values := make([]float64, 0, len(p.a))
	for i := range p.a {
		values = append(values, pick(p.b[i])/pick(p.a[i]))
	}
	slices.Sort(values)
	n := len(values)
	return (values[n/2] + values[(n-1)/2]) / 2, values[0], values[n-1]
}

func throughput(s sample) float64 { return s.PerSecond }
func cpu(s sample) float64        { return s.CPU }
func commands(s sample) float64   { return s.Commands }
func reads(s sample) float64      { return s.Reads }

// benchProxy measures the gate, and what others do, against the bare proxy.
func (b *bench) benchProxy(ctx context.Context, out *report) error {
	sessions, err := b.fill(ctx, 1000, "")
	if err != nil {
		return err
	}
	thousand, err := b.credentialFile("thousand", sessions)
	if err != nil {
		return err
	}
	one, err := b.credentialFile("one", sessions[:1])
	if err != nil {
		return err
	}
	checker, err := b.role(ctx, "checker", b.redis.addr)
	if err != nil {
		return err
	}
	defer b.stop(checker)
	sites := [][2]string{b.bare(), b.bare(), b.gate(""), b.gate(b.cacheOff), b.forwardAuth(checker)}
	servers := make([]*process, 0, len(sites))
	for _, site := range sites {
		server, err := b.startCaddy(ctx, site)
		if err != nil {
			return err
		}
		defer b.stop(server.process)
		servers = append(servers, server.process)
	}
	of := func(name, credentials string, processes ...*process) side {
		return side{name: name, addr: processes[0].addr, processes: processes, credentials: credentials}
	}
	bare := of("bare", thousand, servers[0])
	rows := []side{
		of("bare `reverse_proxy` again: the noise", thousand, servers[1]),
		of("gate, near cache warm, 1 session", one, servers[2], b.redis),
		of("gate, near cache warm, 1,000 sessions in turn", thousand, servers[2], b.redis),
		of("gate, `near_cache off`, 1,000 sessions in turn", thousand, servers[3], b.redis),
		of("`forward_auth` to a checker that does one `GET`", thousand, servers[4], b.redis, checker),
	}
	if b.cacheOff == "" {
		out.text("This Caddy has no near cache: all rows of the gate ask Redis.")
	}
	out.heading("Behind the gate, against the bare proxy")
	table := out.table("", "connections", "requests/s", "of bare", "min … max",
		"CPU µs/request", "of bare", "min … max", "Redis commands", "reads")
	for _, connections := range []int{2, 64} {
		for i, row := range rows {
			p, err := b.measurePairs(ctx, bare, row, connections)
			if err != nil {
				return err
			}
			if i == 0 {
				table.row("bare `reverse_proxy`", connections, rounded(median(p.a, throughput)), "1", "", tenths(median(p.a, cpu)), "1", "", "0", "0")
			}
			t, tMin, tMax := p.ratios(throughput)
			c, cMin, cMax := p.ratios(cpu)
			table.row(row.name, connections, rounded(median(p.b, throughput)), hundredths(t), hundredths(tMin)+" … "+hundredths(tMax),
				tenths(median(p.b, cpu)), hundredths(c), hundredths(cMin)+" … "+hundredths(cMax), tenths(median(p.b, commands)), hundredths(median(p.b, reads)))
		}
	}
	out.end(table)
	return nil
}
