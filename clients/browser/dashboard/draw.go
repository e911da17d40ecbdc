// This file asks Prometheus what the panels of a dashboard ask, and draws them.

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// panel is what is drawn of a panel of the dashboard.
type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit   string
			Custom struct{ Stacking struct{ Mode string } }
		}
	}
	Targets []struct{ Expr, LegendFormat string }

	Series []series
	Top    float64 // of the axis
	Last   float64
}

// series is one line of a panel, a point for each step.
type series struct {
	Name, Colour string
	Values       []float64 // NaN where there is none
}

// Sizes of the picture in pixels, and how many points a line has.
const (
	column, row, gap = 58, 27, 6
	points           = 150
)

var colours = []string{"#2f7d5b", "#3b74c4", "#d9822b", "#b3434f", "#7b57b5", "#2a9aa8", "#93803a", "#c25a9c", "#5d6b78", "#84a83c"}

// draw writes the picture of what happened between two times.
func draw(ctx context.Context, dashboard, prometheus string, from, to time.Time, out string) error {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		return err
	}
	var d struct {
		Title  string
		Panels []*panel
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("%s: %w", dashboard, err)
	}
	height := 0
	for _, p := range d.Panels {
		if err := p.fill(ctx, prometheus, from, to); err != nil {
			return fmt.Errorf("%s: %w", p.Title, err)
		}
		height = max(height, p.GridPos.Y+p.GridPos.H)
	}
	var page strings.Builder
	if err := layout.Execute(&page, d); err != nil {
		return err
	}
	picture, err := photograph(page.String(), 24*column, int64(height*row))
	if err != nil {
		return err
	}
	return os.WriteFile(out, picture, 0o600)
}

// fill asks for the values of all targets.
func (p *panel) fill(ctx context.Context, prometheus string, from, to time.Time) error {
	step := to.Sub(from).Seconds() / points
	for _, target := range p.Targets {
		expr := strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*").Replace(target.Expr)
		query := url.Values{
			"query": {expr}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(to.Unix())},
			"step": {strconv.FormatFloat(step, 'f', 3, 64)},
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, prometheus+"/api/v1/query_range?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		var answer struct {
			Status, Error string
			Data          struct {
				Result []struct {
					Metric map[string]string
					Values [][2]any
				}
			}
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		_ = res.Body.Close()
		if err != nil || answer.Status != "success" {
			return fmt.Errorf("%s: %s %w", expr, answer.Error, err)
		}
		for _, result := range answer.Data.Result {
			s := series{Name: legend(target.LegendFormat, result.Metric), Values: make([]float64, points+1)}
			for i := range s.Values {
				s.Values[i] = math.NaN()
			}
			for _, value := range result.Values {
				at, _ := value[0].(float64)
				word, _ := value[1].(string)
				number, err := strconv.ParseFloat(word, 64)
				if i := int(math.Round((at - float64(from.Unix())) / step)); err == nil && i >= 0 && i <= points {
					s.Values[i] = number
				}
			}
			p.Series = append(p.Series, s)
		}
	}
	slices.SortFunc(p.Series, func(a, b series) int { return strings.Compare(a.Name, b.Name) })
	p.measure()
	return nil
}

// legend puts labels into the name of a line.
func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

// measure stacks the lines if they are to be, and finds the end of the axis.
func (p *panel) measure() {
	below := make([]float64, points+1)
	for i := range p.Series {
		s := &p.Series[i]
		s.Colour = colours[i%len(colours)]
		for j, value := range s.Values {
			if !math.IsNaN(value) {
				p.Last = value
				if p.Stacked() {
					below[j] += value
					s.Values[j] = below[j]
				}
				p.Top = max(p.Top, s.Values[j])
			}
		}
	}
	if p.Top == 0 {
		p.Top = 1
	}
	p.Top *= 1.1
}

// Stacked says that each line stands on the one before.
func (p *panel) Stacked() bool { return p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal" }

// Box is where the panel is.
func (p *panel) Box() template.CSS {
	return template.CSS(fmt.Sprintf("left:%dpx;top:%dpx;width:%dpx;height:%dpx",
		p.GridPos.X*column+gap/2, p.GridPos.Y*row+gap/2, p.GridPos.W*column-gap, p.GridPos.H*row-gap))
}

// Width and Height are those of the drawing.
func (p *panel) Width() int { return p.GridPos.W*column - gap - 24 }

// Height leaves room for title and legend.
func (p *panel) Height() int { return p.GridPos.H*row - gap - 74 }

// Line is the path of a line; where it has no value, it is broken.
func (p *panel) Line(s series) string {
	var path strings.Builder
	command := "M"
	for i, value := range s.Values {
		if math.IsNaN(value) {
			command = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, float64(i)/points*float64(p.Width()), (1-value/p.Top)*float64(p.Height()))
		command = "L"
	}
	return path.String()
}

// Reversed draws the highest line of a stack first, so that it hides none.
func (p *panel) Reversed() []series {
	reversed := slices.Clone(p.Series)
	slices.Reverse(reversed)
	return reversed
}

// Area closes the path of a line at the bottom.
func (p *panel) Area(s series) string {
	line := p.Line(s)
	if line == "" || !p.Stacked() {
		return ""
	}
	first, last := 0.0, float64(p.Width())
	for i, value := range s.Values {
		if !math.IsNaN(value) {
			first = float64(i) / points * float64(p.Width())
			break
		}
	}
	return fmt.Sprintf("%sL%.1f %dL%.1f %dZ", line, last, p.Height(), first, p.Height())
}

// Show writes a value in the unit of the panel.
func (p *panel) Show(value float64) string {
	switch unit := p.FieldConfig.Defaults.Unit; {
	case unit == "percentunit":
		return fmt.Sprintf("%.1f %%", value*100)
	case unit == "s" && value < .001:
		return fmt.Sprintf("%.0f µs", value*1e6)
	case unit == "s" && value < 1:
		return fmt.Sprintf("%.1f ms", value*1e3)
	case unit == "s":
		return fmt.Sprintf("%.2f s", value)
	case unit == "ops":
		return fmt.Sprintf("%.3g/s", value)
	default:
		return fmt.Sprintf("%.3g", value)
	}
}

// Half is the middle of the axis.
func (p *panel) Half() float64 { return p.Top / 2 }

var layout = template.Must(template.New("page").Parse(`<!doctype html><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body{margin:0;background:#eceff1;font:12px/1.3 system-ui,sans-serif;color:#26323a}
section{position:absolute;background:#fff;border:1px solid #d3dade;border-radius:4px;box-sizing:border-box;padding:7px 11px;overflow:hidden}
h2{font-size:13px;font-weight:600;margin:0 0 5px}
b{display:block;font-size:30px;font-weight:500;margin-top:8px;color:#2f7d5b}
svg{display:block;overflow:visible}
p{margin:5px 0 0;font-size:11px;height:30px;overflow:hidden}
i{display:inline-block;width:10px;height:3px;margin:0 4px 3px 0}
span{margin-right:10px;white-space:nowrap}
text{font-size:10px;fill:#6b7a84}
</style>
{{range $p := .Panels}}<section style="{{.Box}}"><h2>{{.Title}}</h2>
{{if eq .Type "stat"}}<b>{{if .Series}}{{.Show .Last}}{{else}}none{{end}}</b>{{else}}
<svg width="{{.Width}}" height="{{.Height}}">
<path d="M0 0H{{.Width}}M0 {{.Height}}H{{.Width}}" stroke="#e1e6e9"/>
{{range .Reversed}}{{with $p.Area .}}<path d="{{.}}" fill="#fff"/>{{end}}<path d="{{$p.Area .}}" fill="{{.Colour}}" fill-opacity=".3"/>{{end}}
{{range .Series}}<path d="{{$p.Line .}}" fill="none" stroke="{{.Colour}}" stroke-width="1.4"/>{{end}}
<text x="2" y="11">{{.Show .Top}}</text></svg>
<p>{{range .Series}}<span><i style="background:{{.Colour}}"></i>{{.Name}}</span>{{end}}</p>{{end}}</section>
{{end}}`))

// photograph lets Chromium show the page.
func photograph(page string, width, height int64) ([]byte, error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(page))
	}))
	defer server.Close()
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // in containers, as root
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true),
		chromedp.UserDataDir(profile),
	)...)
	defer cancelAllocator()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	defer func() { _ = chromedp.Cancel(ctx) }()
	for _, action := range []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(width, height), chromedp.Navigate(server.URL)} {
		if _, err := chromedp.Run(ctx, action); err != nil {
			return nil, err
		}
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}
