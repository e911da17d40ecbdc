// This file measures what ends sessions and tells about them, and how soon
// another server knows.

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// benchFlows measures each flow on its own.
func (b *bench) benchFlows(ctx context.Context, out *report) error {
	gate, err := b.startCaddy(ctx, b.gate(""))
	if err != nil {
		return err
	}
	defer b.stop(gate.process)
	redirect, err := b.startCaddy(ctx, [2]string{"", "redir /leave /goodbye 303\n"})
	if err != nil {
		return err
	}
	defer b.stop(redirect.process)
	rows := []struct {
		name, flow string
		server     *process
	}{
		{"bare Caddy `redir`, for comparison", "redirect", redirect.process},
		{"whoami without a credential (401)", "anonymous", gate.process},
		{"whoami", "whoami", gate.process},
		{"one-step logout: submit a known token", "submit", gate.process},
		{"logout cycle: create the URL, submit it", "cycle", gate.process},
		{"API logout", "api", gate.process},
	}
	out.heading("Ending sessions")
	table := out.table("", "connections", "per second", "CPU µs each", "min … max", "Redis commands", "reads", "p50", "p99")
	for _, connections := range []int{2, 64} {
		for _, row := range rows {
			var samples []sample
			for range 3 {
				m, err := b.flowOnce(ctx, row.server, row.flow, connections, enough)
				if err != nil {
					return err
				}
				samples = append(samples, m)
			}
			low := slices.MinFunc(samples, byCPU)
			high := slices.MaxFunc(samples, byCPU)
			table.row(row.name, connections, rounded(median(samples, throughput)), tenths(median(samples, cpu)),
				tenths(low.CPU)+" … "+tenths(high.CPU), tenths(median(samples, commands)), hundredths(median(samples, reads)),
				micros(median(samples, p50)), micros(median(samples, p99)))
		}
	}
	out.end(table)
	return nil
}

func byCPU(x, y sample) int {
	switch {
	case x.CPU < y.CPU:
		return -1
	case x.CPU > y.CPU:
		return 1
	}
	return 0
}

func p50(s sample) float64 { return float64(s.P50) }
func p99(s sample) float64 { return float64(s.P99) }

// enough is more sessions than a flow can end in the time of one measurement.
const enough = 20_000

// flowOnce measures a flow with fresh sessions: n if each is good for one time,
// a thousand if they go round.
func (b *bench) flowOnce(ctx context.Context, server *process, name string, connections, n int) (sample, error) {
	if !flows[name].once {
		n = 1000
	}
	sessions, err := b.fill(ctx, n, "")
	if err != nil {
		return sample{}, err
	}
	file, err := b.credentialFile("flow", sessions)
	if err != nil {
		return sample{}, err
	}
	s := side{name: name, addr: server.addr, processes: []*process{server, b.redis}, credentials: file}
	return b.load(ctx, s, name, connections, b.o.each)
}

// lagLogouts is how many logouts the lag is measured with.
const lagLogouts = 1000

// benchLag logs out on one server and asks another, which has the session in
// its near cache, until it refuses.
func (b *bench) benchLag(ctx context.Context, out *report) error {
	if b.cacheOff == "" {
		return nil // each check asks Redis: there is no lag
	}
	sessions, err := b.fill(ctx, lagLogouts, "")
	if err != nil {
		return err
	}
	var connections [2]*connection
	for i := range connections {
		server, err := b.startCaddy(ctx, b.gate(""))
		if err != nil {
			return err
		}
		defer b.stop(server.process)
		if connections[i], err = dial(ctx, server.addr); err != nil {
			return err
		}
		defer connections[i].Close()
	}
	lags := make([]time.Duration, 0, lagLogouts)
	for _, s := range sessions {
		for range 2 {
			for _, c := range connections {
				if err := flows["whoami"].run(c, s.credential); err != nil {
					return err
				}
			}
		}
		lag, err := lagOf(connections[0], connections[1], s.credential)
		if err != nil {
			return err
		}
		lags = append(lags, lag)
	}
	slices.Sort(lags)
	out.heading("From a logout on one server to the refusal on another")
	out.text("Two Caddys on one Redis, %d logouts. The time is from the answer to the logout on the first to "+
		"the first refusal that comes back from the second, which is asked again and again, so it holds the time of one request: p50 %s, p99 %s, longest %s.",
		len(lags), lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1])
	return nil
}

func lagOf(first, second *connection, credential string) (time.Duration, error) {
	if err := flows["submit"].run(first, credential); err != nil {
		return 0, err
	}
	for start := time.Now(); time.Since(start) < 10*time.Second; {
		status, err := second.exchange("GET /sessions/whoami" + get + "X-Session-Token: " + credential + "\r\n\r\n")
		if err != nil {
			return 0, err
		}
		if status == 401 {
			return time.Since(start), nil
		}
	}
	return 0, fmt.Errorf("a session that was ended is still accepted after 10 s")
}
