//go:build !windows

package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTrend(t *testing.T) {
	tests := []struct {
		name   string
		over   time.Duration
		grows  bool
		judged bool
		// value is the quantity after a part of the time, from 0 to 1.
		value func(part float64) float64
	}{
		{"flat", 18 * time.Minute, false, true, func(float64) float64 { return 100 }},
		{"a leak of one for each minute", 18 * time.Minute, true, true, func(part float64) float64 { return 100 + 18*part }},
		{"the same, in steps", 18 * time.Minute, true, true, func(part float64) float64 { return 100 + float64(int(18*part)) }},
		{"shrinks", 18 * time.Minute, false, true, func(part float64) float64 { return 100 - 30*part }},
		{"grows at first, then no more", 18 * time.Minute, false, true, func(part float64) float64 { return 100 + 50*min(part/0.2, 1) }},
		{"one peak", 18 * time.Minute, false, true, func(part float64) float64 {
			if part > 0.9 && part < 0.93 {
				return 500
			}
			return 100
		}},
		{"too short", time.Minute, false, false, func(part float64) float64 { return 100 + 100*part }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			noise := rand.New(rand.NewPCG(1, 2))
			const samples = 108
			at, values := make([]time.Time, samples), make([]float64, samples)
			start := time.Now()
			for i := range samples {
				part := float64(i) / (samples - 1)
				at[i] = start.Add(time.Duration(part * float64(test.over)))
				values[i] = test.value(part) + 4*(noise.Float64()-0.5)
			}
			got := trendOf(at, values, allowance{share: 0.05, amount: 8})
			if got.grows != test.grows || got.judged != test.judged {
				t.Errorf("%+v: grows %v, judged %v, want %v, %v", got, got.grows, got.judged, test.grows, test.judged)
			}
		})
	}
	if got := trendOf(nil, nil, allowance{}); got.judged || got.grows {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestLongestLife(t *testing.T) {
	var all []sample
	for _, life := range []int64{1, 1, 3, 3, 3, 5} {
		all = append(all, sample{life: life})
	}
	if got := longestLife(all); len(got) != 3 || got[0].life != 3 {
		t.Errorf("%v", got)
	}
}
