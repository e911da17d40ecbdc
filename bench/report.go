// This file writes what was measured: to the terminal as it comes, and into the
// page between its marks.

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

// report is what is written so far.
type report struct {
	w    io.Writer
	page strings.Builder
}

func newReport(w io.Writer) *report { return &report{w: w} }

func (r *report) write(text string) {
	r.page.WriteString(text)
	_, _ = io.WriteString(r.w, text)
}

func (r *report) heading(text string) { r.write("### " + text + "\n\n") }

func (r *report) text(format string, args ...any) { r.write(fmt.Sprintf(format, args...) + "\n\n") }

// table is rows of a Markdown table. They are written as they come.
type table struct{ r *report }

func (r *report) table(columns ...string) *table {
	t := &table{r}
	r.write("| " + strings.Join(columns, " | ") + " |\n|---" + strings.Repeat("|---:", len(columns)-1) + "|\n")
	return t
}

func (t *table) row(cells ...any) {
	texts := make([]string, 0, len(cells))
	for _, cell := range cells {
		texts = append(texts, fmt.Sprint(cell))
	}
	t.r.write("| " + strings.Join(texts, " | ") + " |\n")
}

func (r *report) end(*table) { r.write("\n") }

// machine writes what everything was measured with.
func (r *report) machine(ctx context.Context, o *options, args []string) {
	r.text("Measured on %s with `%s`.", time.Now().UTC().Format("2006-01-02"),
		strings.TrimSpace("go run ./bench "+strings.Join(args, " ")))
	r.text("%d processors (%s), %s/%s, %s, Caddy %s, %s; everything on one machine, over loopback.",
		runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		firstWord(output(ctx, o.caddy, "version")), redisVersion(output(ctx, "redis-server", "--version")))
}

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
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

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); m != nil {
		return string(m[1])
	}
	return "of an unknown kind"
}

// The marks in the page.
const (
	begin = "<!-- bench: begin -->\n"
	end   = "<!-- bench: end -->\n"
)

// replaceIn puts the report between the marks of a page.
func (r *report) replaceIn(name string) error {
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return errors.New(name + ": the marks are missing")
	}
	text := strings.TrimRight(r.page.String(), "\n") + "\n"
	return os.WriteFile(name, fmt.Appendf(nil, "%s%s\n%s\n%s%s", before, begin, text, end, after), 0o644)
}

func rounded(v float64) string    { return strconv.FormatFloat(v, 'f', 0, 64) }
func tenths(v float64) string     { return strconv.FormatFloat(v, 'f', 1, 64) }
func hundredths(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
func micros(v float64) string     { return time.Duration(v).Round(time.Microsecond).String() }
