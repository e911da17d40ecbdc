package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// TestPairs checks that each half is first in every other pair, and that the ratios
// are of the second to the first whatever the order.
func TestPairs(t *testing.T) {
	var order strings.Builder
	measure := func(name string, cpu float64) half {
		return func(context.Context, time.Duration) (sample, error) {
			order.WriteString(name)
			cpu++
			return sample{CPU: cpu, PerSecond: cpu * 100}, nil
		}
	}
	b := &bench{o: &options{pairs: 3}}
	p, err := b.measurePairs(t.Context(), measure("a", 0), measure("b", 10))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "ab"+"ab"+"ba"+"ab"; got != want {
		t.Errorf("measured in the order %s, want %s", got, want)
	}
	// 2, 3, 4 against 12, 13, 14.
	if middle, least, most := p.ratios(cpu); middle != 13./3 || least != 3.5 || most != 6 {
		t.Errorf("ratios %v (%v … %v), want 4.33 (3.5 … 6)", middle, least, most)
	}

	var text strings.Builder
	row, end := compared(rig.NewReport(&text), figure{"CPU", cpu, tenths})
	row("gate", 2, p)
	end()
	want := "|  | connections | CPU | baseline | ratio | min … max |\n|---|---:|---:|---:|---:|---:|\n" +
		"| gate | 2 | 13.0 | 3.0 | 4.33 | 3.50 … 6.00 |\n\n"
	if text.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", text.String(), want)
	}
}

func TestBaselineSections(t *testing.T) {
	caddy := t.TempDir() // exists, and options checks no more
	for only, want := range map[string]string{"": "proxy flows lag", "lag,growth": "lag", "growth": ""} {
		b := &bench{o: &options{baseline: caddy, only: only}}
		sections, err := b.baselineSections()
		var wanted []string
		for _, s := range sections {
			if b.o.wants(s.name) {
				wanted = append(wanted, s.name)
			}
		}
		if got := strings.Join(wanted, " "); got != want || (err != nil) != (want == "") {
			t.Errorf("-only %q measures %q (%v), want %q", only, got, err, want)
		}
	}
	b := &bench{o: &options{baseline: caddy + "/none"}}
	if _, err := b.baselineSections(); err == nil {
		t.Error("a baseline that is not there is no error")
	}
}
