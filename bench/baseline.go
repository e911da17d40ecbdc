package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// baselineLogouts is how many logouts measure the lag in one half of a pair.
const baselineLogouts = 200

// baselineSections are the sections that -baseline measures.
func (b *bench) baselineSections() ([]section, error) {
	baseline, err := rig.FindCaddy(b.o.baseline)
	if err != nil {
		return nil, err
	}
	c := &comparison{bench: b, programs: [2]string{baseline, b.caddy}}
	sections := []section{{"proxy", c.gates}, {"flows", c.logouts}, {"lag", c.refusals}}
	if !slices.ContainsFunc(sections, func(s section) bool { return b.o.wants(s.name) }) {
		return nil, errors.New("-baseline goes with -only proxy, flows and lag")
	}
	return sections, nil
}

// comparison compares the baseline, the first of the programs, with the Caddy under
// measurement.
type comparison struct {
	*bench
	programs [2]string
}

// start starts both with the same site.
func (c *comparison) start(ctx context.Context, site rig.Site) (servers [2]*rig.Caddy, stop func(), err error) {
	stop = func() {
		for _, server := range servers {
			if server != nil {
				server.Stop()
			}
		}
	}
	for i, program := range c.programs {
		server, err := c.StartCaddy(ctx, program, site)
		if err != nil {
			stop()
			return servers, nil, err
		}
		servers[i] = server
	}
	return servers, stop, nil
}

// figure is a column of a table: what it measures, and its format.
type figure struct {
	name  string
	pick  func(sample) float64
	write func(float64) string
}

// compared begins a table with the ratio beside each figure.
func compared(out *rig.Report, figures ...figure) (row func(name string, connections int, p pairs), end func()) {
	columns := []string{"", "connections"}
	for _, f := range figures {
		columns = append(columns, f.name, "baseline", "ratio", "min … max")
	}
	table := out.Table(columns...)
	return func(name string, connections int, p pairs) {
		cells := []any{name, connections}
		for _, f := range figures {
			ratio, least, most := p.ratios(f.pick)
			cells = append(cells, f.write(median(p.b, f.pick)), f.write(median(p.a, f.pick)),
				hundredths(ratio), hundredths(least)+" … "+hundredths(most))
		}
		table.Row(cells...)
	}, table.End
}

// gates compares the gate.
func (c *comparison) gates(ctx context.Context, out *rig.Report) error {
	file, err := c.credentials(ctx, "baseline", 1000)
	if err != nil {
		return err
	}
	out.Heading("Behind the gate, against the baseline")
	row, end := compared(out, figure{"requests/s", throughput, rounded}, figure{"CPU µs/request", cpu, tenths})
	rows := []struct{ name, options string }{{"near cache warm, 1,000 sessions in turn", ""}}
	if c.cacheOff != "" {
		rows = append(rows, struct{ name, options string }{"`near_cache off`, 1,000 sessions in turn", c.cacheOff})
	}
	for _, r := range rows {
		if err := c.gatePairs(ctx, c.gate(r.options), file, func(connections int, p pairs) { row(r.name, connections, p) }); err != nil {
			return err
		}
	}
	end()
	return nil
}

// gatePairs measures both with one site, while no other servers run.
func (c *comparison) gatePairs(ctx context.Context, site rig.Site, credentials string, row func(connections int, p pairs)) error {
	servers, stop, err := c.start(ctx, site)
	if err != nil {
		return err
	}
	defer stop()
	for _, connections := range []int{2, 64} {
		p, err := c.measurePairs(ctx, c.check(c.sideOf("baseline", credentials, servers[0]), connections),
			c.check(c.sideOf("gate", credentials, servers[1]), connections))
		if err != nil {
			return err
		}
		row(connections, p)
	}
	return nil
}

// logouts compares the ways to log out.
func (c *comparison) logouts(ctx context.Context, out *rig.Report) error {
	servers, stop, err := c.start(ctx, c.gate(""))
	if err != nil {
		return err
	}
	defer stop()
	out.Heading("Ending sessions, against the baseline")
	row, end := compared(out, figure{"per second", throughput, rounded}, figure{"CPU µs each", cpu, tenths})
	for _, connections := range []int{2, 64} {
		for _, r := range []struct{ name, flow string }{
			{"one-step logout: submit a known token", "submit"},
			{"logout cycle: create the URL, submit it", "cycle"},
			{"API logout", "api"},
		} {
			logout := func(server *rig.Caddy) half {
				return func(ctx context.Context, lasts time.Duration) (sample, error) {
					return c.flowOnce(ctx, server, r.flow, connections, enough, lasts)
				}
			}
			p, err := c.measurePairs(ctx, logout(servers[0]), logout(servers[1]))
			if err != nil {
				return err
			}
			row(r.name, connections, p)
		}
	}
	end()
	return nil
}

// lags compares how soon another server refuses an ended session.
func (c *comparison) refusals(ctx context.Context, out *rig.Report) error {
	if c.cacheOff == "" {
		return nil // each check queries Redis: there is no lag
	}
	first, stop, err := c.start(ctx, c.gate(""))
	if err != nil {
		return err
	}
	defer stop()
	second, stop, err := c.start(ctx, c.gate(""))
	if err != nil {
		return err
	}
	defer stop()
	out.Heading("From a logout on one server to the refusal on another, against the baseline")
	row, end := compared(out, figure{"p50", p50, micros}, figure{"p99", p99, micros})
	lag := func(i int) half {
		return func(ctx context.Context, _ time.Duration) (sample, error) {
			lags, err := c.lags(ctx, first[i], second[i], baselineLogouts)
			if err != nil {
				return sample{}, err
			}
			return sample{loadResult: loadResult{P50: lags[len(lags)/2], P99: lags[len(lags)*99/100]}}, nil
		}
	}
	p, err := c.measurePairs(ctx, lag(0), lag(1))
	if err != nil {
		return err
	}
	row(fmt.Sprintf("%d logouts each time", baselineLogouts), 1, p)
	end()
	return nil
}
