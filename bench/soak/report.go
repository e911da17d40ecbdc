//go:build !windows

// This file writes what came of a run, as a section of a Markdown page.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is text that goes out as it comes, and into a page.
type report struct {
	out  io.Writer
	page strings.Builder
}

func newReport(out io.Writer) *report { return &report{out: out} }

func (r *report) write(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.page.WriteString(text)
	_, _ = io.WriteString(r.out, text)
}

// report writes everything and returns what was wrong.
func (s *soak) report(ctx context.Context, out *report, elapsed time.Duration, others float64) error {
	c := &s.counts
	command := "make soak"
	if s.o.last != fullLength {
		command += fmt.Sprintf(" SOAK_FLAGS='-for %s'", s.o.last)
	}
	out.write("Measured on %s with `%s`, %s in all.\n\n", time.Now().UTC().Format("2006-01-02"), command, elapsed.Round(time.Second))
	out.write("%d processors, %s/%s, %s, Caddy %s, %s; everything on one machine, over loopback. "+
		"Other programs used %s %% of its processors meanwhile.\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		firstWord(output(ctx, s.o.env, s.o.caddy, "version")), redisVersion(output(ctx, nil, "redis-server", "--version")),
		strconv.FormatFloat(100*max(0, others), 'f', 0, 64))
	out.write("| must be 0 | |\n|---|---:|\n")
	for _, row := range s.mustBeZero() {
		out.write("| %s | %d |\n", row.name, row.n)
	}
	out.write("\n| what happened | |\n|---|---:|\n")
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
		out.write("| %s | %d |\n", row.name, row.n)
	}
	s.reportLags(out)
	grown := s.reportMemory(out)
	return s.verdict(grown)
}

func (s *soak) reportLags(out *report) {
	hereN, here, hereMost := summary(s.lags.here)
	thereN, there, thereMost := summary(s.lags.there)
	out.write("\nFrom the answer to a logout to the end of a stream, where there was no trouble: median %s, longest %s on the same "+
		"server (%d streams); %s and %s on another (%d).\n\n",
		round(here), round(hereMost), hereN, round(there), round(thereMost), thereN)
}

// reportMemory writes how the Caddys developed, and returns what grew.
func (s *soak) reportMemory(out *report) (grown []string) {
	out.write("| of each Caddy | unit | early | late | a line through all | over | |\n|---|---|---:|---:|---:|---:|---|\n")
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
			out.write("| %s: %s | %s | %s | %s | %s | %s | %s |\n", n.name, quantity.name, quantity.unit,
				digits(t.early), digits(t.late), signed(digits(t.fit)), t.span.Round(time.Second), word)
		}
	}
	out.write("\nEarly and late are medians of thirds, after the first quarter of the longest time that the Caddy was up. " +
		"Memory is what is the process' own (RssAnon), the heap is after a collection.\n")
	return grown
}

func signed(s string) string {
	if strings.HasPrefix(s, "-") {
		return s
	}
	return "+" + s
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func output(ctx context.Context, env []string, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

func redisVersion(s string) string {
	if m := regexp.MustCompile(`v=(\S+)`).FindStringSubmatch(s); m != nil {
		return "Redis " + m[1]
	}
	return "Redis"
}

// The marks in the page.
const (
	beginMark = "<!-- soak: begin -->\n"
	endMark   = "<!-- soak: end -->\n"
)

// replaceIn puts the report between the marks of a page.
func (r *report) replaceIn(name string) error {
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return errors.New(name + ": the marks are missing")
	}
	text := strings.TrimRight(r.page.String(), "\n") + "\n"
	return os.WriteFile(name, fmt.Appendf(nil, "%s%s\n%s\n%s%s", before, beginMark, text, endMark, after), 0o644)
}

// namedCount is a row of the report.
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
