// Command bench measures what the gate costs, side by side with a bare proxy and
// with what others do, and writes the tables of docs/performance.md. It starts
// every server it needs on the loopback interface and ends what it started.
//
//	go run ./bench            all, on bin/caddy (see make build)
//	go run ./bench -million   also with 10⁶ sessions in the store
//
// With -baseline it measures two builds in turn instead, so that what else the
// machine does falls on both, and each figure has its ratio to that of the baseline:
//
//	git worktree add ../before HEAD~1
//	(cd ../before && go build -o bin/caddy ./cmd/caddy)
//	go run ./bench -baseline ../before/bin/caddy
//
// Build both with the same Go and the same flags, or the figures compare these.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// options are the flags of a run.
type options struct {
	caddy   string
	page    string
	pairs   int
	each    time.Duration
	million bool
	only    string
	// baseline is another Caddy, measured in turn with this one.
	baseline string
	// profile and connections are for taking a profile instead of measuring.
	profile     string
	connections int
	flow        string
	cached      bool
}

// wants reports whether a section is to be measured.
func (o *options) wants(section string) bool {
	return o.only == "" || strings.Contains(","+o.only+",", ","+section+",")
}

func main() { rig.Main("bench", run) }

func run(ctx context.Context, args []string) error {
	// The program is also the servers and the clients that it starts.
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return loadMain(ctx)
		case "upstream":
			return upstreamMain(ctx, args[1:])
		case "checker":
			return checkerMain(ctx, args[1:])
		case "events":
			return eventsMain(ctx, args[1:])
		}
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.caddy, "caddy", "bin/caddy", "the Caddy to measure")
	flags.StringVar(&o.page, "write", "", "the page whose tables to replace, such as docs/performance.md")
	flags.IntVar(&o.pairs, "pairs", 5, "pairs of measurements a row")
	flags.DurationVar(&o.each, "time", 1500*time.Millisecond, "how long one measurement takes")
	flags.BoolVar(&o.million, "million", false, "grow the store to 10⁶ sessions too")
	flags.StringVar(&o.only, "only", "", "sections, with commas between: check,proxy,flows,lag,streams,growth (default all)")
	flags.StringVar(&o.baseline, "baseline", "", "another Caddy: measure gate, logout and lag (-only proxy,flows,lag) with both in turn, and write no page")
	flags.StringVar(&o.profile, "profile", "", "measure nothing: write a CPU profile of the gate to this file")
	flags.IntVar(&o.connections, "connections", 64, "how many connections there are for -profile")
	flags.StringVar(&o.flow, "flow", "check", "what they do for -profile: check, whoami, submit, cycle or api")
	flags.BoolVar(&o.cached, "cached", false, "with the near cache, for -profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return measure(ctx, &o, args)
}

// measure runs the sections one after the other, so that none disturbs another.
func measure(ctx context.Context, o *options, args []string) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	if o.profile != "" {
		return b.benchProfile(ctx)
	}
	out := rig.NewReport(os.Stdout)
	out.Machine(ctx, strings.TrimSpace("go run ./bench "+strings.Join(args, " ")), o.caddy)
	watched := b.Watch()
	sections := []section{
		{"check", b.benchCheck},
		{"proxy", b.benchProxy},
		{"flows", b.benchFlows},
		{"lag", b.benchLag},
		{"streams", b.benchStreams},
		{"growth", b.benchGrowth},
	}
	if o.baseline != "" {
		if sections, err = b.baselineSections(); err != nil {
			return err
		}
	}
	for _, section := range sections {
		if !o.wants(section.name) {
			continue
		}
		if err := section.run(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
	}
	out.Text("%s", watched())
	if b.unavailable > 0 {
		out.Text("%d requests were answered 503, as Redis did not answer in time.", b.unavailable)
	}
	if o.page == "" {
		return nil
	}
	if o.baseline != "" {
		fmt.Printf("%s is left as it is: it has no room for a baseline.\n", o.page)
		return nil
	}
	return out.ReplaceIn(o.page, "bench")
}

// section is a part of the page.
type section struct {
	name string
	run  func(context.Context, *rig.Report) error
}
