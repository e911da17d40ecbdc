package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// benchFlows measures each flow on its own.
func (b *bench) benchFlows(ctx context.Context, out *rig.Report) error {
	gate, err := b.startCaddy(ctx, b.gate(""))
	if err != nil {
		return err
	}
	defer gate.Stop()
	redirect, err := b.startCaddy(ctx, rig.Site{Site: "redir /leave /goodbye 303\n"})
	if err != nil {
		return err
	}
	defer redirect.Stop()
	rows := []struct {
		name, flow string
		server     *rig.Caddy
	}{
		{"bare Caddy `redir`, for comparison", "redirect", redirect},
		{"whoami without a credential (401)", "anonymous", gate},
		{"whoami", "whoami", gate},
		{"one-step logout: submit a known token", "submit", gate},
		{"logout cycle: create the URL, submit it", "cycle", gate},
		{"API logout", "api", gate},
	}
	out.Heading("Ending sessions")
	table := out.Table("", "connections", "per second", "CPU µs each", "min … max", "Redis commands", "reads", "p50", "p99")
	for _, connections := range []int{2, 64} {
		for _, row := range rows {
			var samples []sample
			for range 3 {
				m, err := b.flowOnce(ctx, row.server, row.flow, connections, enough, b.o.each)
				if err != nil {
					return err
				}
				samples = append(samples, m)
			}
			low := slices.MinFunc(samples, byCPU)
			high := slices.MaxFunc(samples, byCPU)
			table.Row(row.name, connections, rounded(median(samples, throughput)), tenths(median(samples, cpu)),
				tenths(low.CPU)+" … "+tenths(high.CPU), tenths(median(samples, commands)), hundredths(median(samples, reads)),
				micros(median(samples, p50)), micros(median(samples, p99)))
		}
	}
	table.End()
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

// enough is more sessions than a flow can end in the time of one measurement.
const enough = 20_000

// flowOnce measures a flow with fresh sessions: n if each works once, a thousand if
// they go round.
func (b *bench) flowOnce(ctx context.Context, server *rig.Caddy, name string, connections, n int, lasts time.Duration) (sample, error) {
	if !flows[name].once {
		n = 1000
	}
	file, err := b.credentials(ctx, "flow", n)
	if err != nil {
		return sample{}, err
	}
	return b.load(ctx, b.sideOf(name, file, server), name, connections, lasts)
}

// lagLogouts is how many logouts measure the lag.
const lagLogouts = 1000

// benchLag measures how soon another server refuses an ended session.
func (b *bench) benchLag(ctx context.Context, out *rig.Report) error {
	if b.cacheOff == "" {
		return nil // each check queries Redis: there is no lag
	}
	var servers [2]*rig.Caddy
	for i := range servers {
		var err error
		if servers[i], err = b.startCaddy(ctx, b.gate("")); err != nil {
			return err
		}
		defer servers[i].Stop()
	}
	lags, err := b.lags(ctx, servers[0], servers[1], lagLogouts)
	if err != nil {
		return err
	}
	out.Heading("From a logout on one server to the refusal on another")
	out.Text("Two Caddys on one Redis, %d logouts. The time is from the answer to the logout on the first to "+
		"the first refusal that comes back from the second, which is asked again and again, so it holds the time of one request: p50 %s, p99 %s, longest %s.",
		len(lags), lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1])
	return nil
}

// lags logs out on one server and sends requests to another, which has the session in
// its near cache, until it refuses one. It returns the times of n logouts, sorted.
func (b *bench) lags(ctx context.Context, first, second *rig.Caddy, n int) ([]time.Duration, error) {
	sessions, err := b.fill(ctx, n, "")
	if err != nil {
		return nil, err
	}
	var connections [2]*connection
	for i, server := range []*rig.Caddy{first, second} {
		if connections[i], err = dial(ctx, server.Addr); err != nil {
			return nil, err
		}
		defer connections[i].Close()
	}
	lags := make([]time.Duration, 0, n)
	for _, s := range sessions {
		for range 2 {
			for _, c := range connections {
				if err := flows["whoami"].run(c, s.credential); err != nil {
					return nil, err
				}
			}
		}
		lag, err := lagOf(connections[0], connections[1], s.credential)
		if err != nil {
			return nil, err
		}
		lags = append(lags, lag)
	}
	slices.Sort(lags)
	return lags, nil
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
