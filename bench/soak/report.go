//go:build !windows

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// report writes a section of a Markdown page and returns what was wrong.
func (s *soak) report(ctx context.Context, out *rig.Report, watched string) error {
	c := &s.counts
	command := "make soak"
	if s.o.last != fullLength {
		command += fmt.Sprintf(" SOAK_FLAGS='-for %s'", s.o.last)
	}
	out.Machine(ctx, command, s.o.caddy, s.o.env...)
	out.Text("%s", watched)
	table := out.Table("must be 0", "")
	for _, row := range s.mustBeZero() {
		table.Row(row.name, row.n)
	}
	table.End()
	table = out.Table("what happened", "")
	for _, row := range []namedCount{
		{"requests", c.requests.Load()},
		{"sign-ins", c.signIns.Load()},
		{"checks of a session", c.checks.Load()},
		{"of them, of one that had ended, and refused", c.refused.Load()},
		{"logouts of one session", c.signOuts.Load()},
		{"logouts of all, or of all other devices", c.endedAll.Load()},
		{"logouts during an outage, answered 202", c.pending.Load()},
		{"of them, seen done in Redis when it was back", c.replayed.Load()},
		{"of them, expired before that was looked at", c.pendingExpired.Load()},
		{"streams opened", c.streams.Load()},
		{"of them, ended by a logout", c.streamsCut.Load()},
		{"answers 503 in an outage, and up to 15 s after it", c.away.Load()},
		{"answers 503 at other times", c.awayInQuiet.Load()},
		{"requests sent again, as nothing had answered", c.again.Load()},
		{"things left out, as all hands were busy", c.leftOut.Load()},
		{"reloads", c.reloads.Load()},
		{"Redis killed, and started with its data", c.redisKills.Load()},
		{"Redis stopped for a while", c.redisPauses.Load()},
		{"Caddys killed, and started again", c.nodeKills.Load()},
	} {
		table.Row(row.name, row.n)
	}
	table.End()
	s.reportLags(out)
	grown := s.reportMemory(out)
	return s.verdict(grown)
}

func (s *soak) reportLags(out *rig.Report) {
	hereN, here, hereMost := summary(s.lags.here)
	thereN, there, thereMost := summary(s.lags.there)
	out.Text("From the answer to a logout to the end of a stream, where there was no trouble: median %s, longest %s on the same "+
		"server (%d streams); %s and %s on another (%d).",
		round(here), round(hereMost), hereN, round(there), round(thereMost), thereN)
}

// reportMemory writes how the Caddys developed, and returns what grew.
func (s *soak) reportMemory(out *rig.Report) (grown []string) {
	table := out.Table("of each Caddy", "unit", "early", "late", "a line through all", "over", "")
	for _, n := range s.nodes {
		samples := longestLife(s.memory.of[n])
		at := make([]time.Time, len(samples))
		for i, one := range samples {
			at[i] = one.at
		}
		for _, quantity := range []struct {
			name, unit string
			scale      float64
			allow      allowance
			of         func(sample) float64
		}{
			{"memory", "MB", 1e6, allowance{0.10, 6e6}, func(one sample) float64 { return one.rss }},
			{"Go heap", "MB", 1e6, allowance{0.05, 1e6}, func(one sample) float64 { return one.heap }},
			{"goroutines", "", 1, allowance{0.05, 8}, func(one sample) float64 { return one.goroutines }},
			{"open files", "", 1, allowance{0.05, 8}, func(one sample) float64 { return one.files }},
		} {
			values := make([]float64, len(samples))
			for i, one := range samples {
				values[i] = quantity.of(one)
			}
			t := trendOf(at, values, quantity.allow)
			word := "flat"
			switch {
			case !t.judged:
				word = "too short to tell"
			case t.grows:
				word = "**grows**"
				grown = append(grown, quantity.name+" of "+n.name+" grows")
			}
			digits := func(v float64) string { return strconv.FormatFloat(v/quantity.scale, 'f', 1, 64) }
			table.Row(n.name+": "+quantity.name, quantity.unit,
				digits(t.early), digits(t.late), signed(digits(t.fit)), t.span.Round(time.Second), word)
		}
	}
	table.End()
	out.Text("Early and late are medians of thirds, after the first quarter of the longest time that the Caddy was up. " +
		"Memory is what is the process' own (RssAnon), the heap is after a collection.")
	return grown
}

func signed(s string) string {
	if strings.HasPrefix(s, "-") {
		return s
	}
	return "+" + s
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// namedCount is a row of a table.
type namedCount struct {
	name string
	n    int64
}

func (s *soak) mustBeZero() []namedCount {
	c := &s.counts
	return []namedCount{
		{"live sessions that were refused", c.lost.Load()},
		{"ended sessions that were accepted, streams among them", c.accepted.Load()},
		{"streams that were cut though their session lives", c.cutAlive.Load()},
		{"logouts that were noted and never done", c.leftPending.Load()},
		{"answers that make no sense", c.strange.Load()},
		{fmt.Sprintf("requests that nothing answered in %d tries", maxTries), c.unanswered.Load()},
		{"reloads that failed", c.failedLoad.Load()},
		{"panics and data races", c.panics.Load()},
		{"secrets in a log", c.secrets.Load()},
	}
}
