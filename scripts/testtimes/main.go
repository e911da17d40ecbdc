// Command testtimes reads what go test -json prints, prints what go test prints
// without it, and then writes the slowest tests to a file.
//
//	go test -json ./... | testtimes [-v] [-slowest file]
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// listed is how many tests are said to be the slowest.
const listed = 10

func main() {
	verbose := flag.Bool("v", false, "print what passing tests print, too")
	slowest := flag.String("slowest", "", "the file for the slowest tests")
	flag.Parse()
	r := report{out: os.Stdout, verbose: *verbose, running: make(map[test][]string)}
	err := r.read(os.Stdin)
	if *slowest != "" {
		err = errors.Join(err, os.WriteFile(*slowest, []byte(r.slowest()), 0o600))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testtimes:", err)
		os.Exit(1)
	}
}

// event is a line of go test -json, see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// test names a test; that without a name is the package itself.
type test struct{ pkg, name string }

// timed is a test that has ended.
type timed struct {
	test
	seconds float64
}

// failure is what a failed test has printed.
type failure struct {
	test
	lines []string
}

type report struct {
	out     io.Writer
	verbose bool
	// running holds what tests have printed that have not ended.
	running map[test][]string
	// failed holds what failed tests have printed, in the order of their ends.
	failed    []failure
	times     []timed
	anyFailed bool
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			if r.anyFailed {
				r.print("FAIL\n")
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line of input. One that is not an event is printed as it is.
func (r *report) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		r.print(line)
		return
	}
	at := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.print(e.Output)
	case "build-fail":
		r.anyFailed = true
	case "output":
		switch {
		case r.verbose:
			r.print(e.Output)
		case !strings.HasPrefix(e.Output, "=== "):
			r.running[at] = append(r.running[at], e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
			return
		}
		if e.Action == "fail" {
			r.failed = append(r.failed, failure{at, verdictFirst(r.running[at])})
		}
		delete(r.running, at)
		if !strings.Contains(e.Test, "/") {
			r.times = append(r.times, timed{at, e.Elapsed})
		}
	}
}

// endPackage prints what go test prints of a package.
func (r *report) endPackage(e event) {
	lines := r.running[test{pkg: e.Package}]
	delete(r.running, test{pkg: e.Package})
	if e.Action != "fail" {
		if n := len(lines); n > 0 {
			r.print(lines[n-1]) // its line with ok, or with a question mark
		}
		return
	}
	r.anyFailed = true
	r.printFailed(e.Package, "")
	// A panic and a timeout end a package without ending its tests.
	var open []test
	for at := range r.running {
		if at.pkg == e.Package {
			open = append(open, at)
		}
	}
	slices.SortFunc(open, func(a, b test) int { return cmp.Compare(a.name, b.name) })
	for _, at := range open {
		r.print(r.running[at]...)
		delete(r.running, at)
	}
	r.print(lines...)
}

// printFailed prints what the tests of a package have printed that failed: those below
// a test are behind it, and further in.
func (r *report) printFailed(pkg, above string) {
	for _, f := range r.failed {
		parent, depth := "", strings.Count(f.name, "/")
		if depth > 0 {
			parent = f.name[:strings.LastIndex(f.name, "/")]
		}
		if f.pkg != pkg || parent != above {
			continue
		}
		for _, line := range f.lines {
			r.print(strings.Repeat("    ", depth) + line)
		}
		r.printFailed(pkg, f.name)
	}
}

// verdictFirst puts the line "--- FAIL" of a test before what the test has logged.
func verdictFirst(lines []string) []string {
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "--- ") })
	if i <= 0 {
		return lines
	}
	return slices.Concat(lines[i:], lines[:i])
}

func (r *report) print(lines ...string) {
	for _, line := range lines {
		fmt.Fprint(r.out, line)
	}
}

// slowest returns a line for each of the slowest tests.
func (r *report) slowest() string {
	slices.SortFunc(r.times, func(a, b timed) int {
		return cmp.Or(cmp.Compare(b.seconds, a.seconds), cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name))
	})
	var text strings.Builder
	for _, t := range r.times[:min(listed, len(r.times))] {
		fmt.Fprintf(&text, "%7.1f s  %s %s\n", t.seconds, t.pkg, t.name)
	}
	return text.String()
}
