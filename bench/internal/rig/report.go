package rig

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
	"strings"
	"time"
)

// Report is the Markdown of a run so far: it goes out at once, and into a page.
type Report struct {
	w    io.Writer
	page strings.Builder
}

// NewReport begins a Markdown report that goes to w.
func NewReport(w io.Writer) *Report { return &Report{w: w} }

func (r *Report) write(text string) {
	r.page.WriteString(text)
	_, _ = io.WriteString(r.w, text)
}

// Heading writes a heading.
func (r *Report) Heading(text string) { r.write("### " + text + "\n\n") }

// Text writes a paragraph.
func (r *Report) Text(format string, args ...any) { r.write(fmt.Sprintf(format, args...) + "\n\n") }

// Table is rows of a Markdown table. They are written as they come.
type Table struct{ r *Report }

// Table begins a table.
func (r *Report) Table(columns ...string) *Table {
	r.write("| " + strings.Join(columns, " | ") + " |\n|---" + strings.Repeat("|---:", len(columns)-1) + "|\n")
	return &Table{r}
}

// Row writes a row.
func (t *Table) Row(cells ...any) {
	texts := make([]string, 0, len(cells))
	for _, cell := range cells {
		texts = append(texts, fmt.Sprint(cell))
	}
	t.r.write("| " + strings.Join(texts, " | ") + " |\n")
}

// End ends the table.
func (t *Table) End() { t.r.write("\n") }

// Machine writes the program, the time, the command and the machine of a measurement.
// It gets the version of the Caddy with env added to the environment.
func (r *Report) Machine(ctx context.Context, command, caddy string, env ...string) {
	r.Text("Measured on %s with `%s`.", time.Now().UTC().Format("2006-01-02"), command)
	version, _, _ := strings.Cut(output(ctx, env, caddy, "version"), " ")
	r.Text("%d processors (%s), %s/%s, %s, Caddy %s, %s; everything on one machine, over loopback.",
		runtime.NumCPU(), processor(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		version, redisVersion(output(ctx, nil, "redis-server", "--version")))
}

func output(ctx context.Context, env []string, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
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

// Marks returns the lines around a section of a page that ReplaceIn replaces.
func Marks(section string) (begin, end string) {
	return "<!-- " + section + ": begin -->\n", "<!-- " + section + ": end -->\n"
}

// ReplaceIn puts the Markdown between the marks of a section of a page.
func (r *Report) ReplaceIn(name, section string) error {
	page, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	begin, end := Marks(section)
	before, rest, ok := bytes.Cut(page, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return errors.New(name + ": the marks are missing")
	}
	text := strings.TrimRight(r.page.String(), "\n") + "\n"
	return os.WriteFile(name, fmt.Appendf(nil, "%s%s\n%s\n%s%s", before, begin, text, end, after), 0o644)
}
