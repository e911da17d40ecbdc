//go:build !windows

// Command soak uses a few Caddys for half an hour as people would, while it reloads
// them, makes Redis unavailable, and kills processes. Then it reports lost sessions,
// ended sessions that a server accepted, and memory that grew, and fails if there are
// any. It starts every server it needs on the loopback interface and ends what it
// started.
//
//	go run ./bench/soak           on bin/caddy (see make build)
//	go run ./bench/soak -for 2m   the same in a hurry
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// options are the flags of a run.
type options struct {
	caddy string
	page  string
	last  time.Duration
	rate  int
	// env is added to the environment of each Caddy.
	env []string
	// out is for the Markdown report and the notes about the run.
	out io.Writer
}

func main() { rig.Main("soak", parseAndRun) }

func parseAndRun(ctx context.Context, args []string) error {
	o := options{out: os.Stdout}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.StringVar(&o.caddy, "caddy", "bin/caddy", "the Caddy to soak")
	flags.StringVar(&o.page, "write", "", "the page whose section to replace, such as docs/performance.md, after a run of 30 minutes or more")
	flags.DurationVar(&o.last, "for", 30*time.Minute, "how long; what happens now and then comes closer together when it is shorter")
	flags.IntVar(&o.rate, "rate", 50, "how many things people do in a second")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return run(ctx, &o)
}

// run soaks, reports, and fails if something was wrong.
func run(ctx context.Context, o *options) error {
	s, err := newSoak(ctx, o)
	if err != nil {
		return err
	}
	wrong := errors.New("the run was cut short")
	defer func() { s.close(wrong != nil) }()
	s.begin = time.Now()
	watched := s.rig.Watch()
	if err := s.soak(ctx); err != nil {
		wrong = err
		return err
	}
	out := rig.NewReport(o.out)
	wrong = s.report(ctx, out, watched())
	if o.page != "" && o.last < fullLength {
		fmt.Fprintf(o.out, "\n%s is left as it is: that takes a run of %v.\n", o.page, fullLength)
	} else if o.page != "" {
		if err := out.ReplaceIn(o.page, "soak"); err != nil {
			return errors.Join(wrong, err)
		}
	}
	return wrong
}
