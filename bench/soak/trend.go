//go:build !windows

package main

import (
	"slices"
	"time"
)

// trend is how a quantity developed.
type trend struct {
	// early and late are medians of the first and the last third of the samples that
	// count.
	early, late float64
	// fit is how much a line through all samples grows in their time.
	fit float64
	// span is their time.
	span time.Duration
	// grows says that both grow by more than the allowance.
	grows bool
	// judged says that the time was long enough.
	judged bool
}

// warmUp is the part of a life that does not count: caches fill up, pools are
// made.
const warmUp = 0.25

// allowance is how much a quantity may grow: the larger of a share of its former
// value, and an amount.
type allowance struct{ share, amount float64 }

// trendOf judges values that were taken at times.
func trendOf(at []time.Time, values []float64, allow allowance) trend {
	skip := int(warmUp * float64(len(values)))
	at, values = at[skip:], values[skip:]
	n := len(values)
	if n < 6 {
		return trend{}
	}
	third := n / 3
	t := trend{
		early: medianOf(values[:third]),
		late:  medianOf(values[n-third:]),
		span:  at[n-1].Sub(at[0]),
	}
	t.fit = slope(at, values) * t.span.Seconds()
	limit := max(allow.amount, allow.share*t.early)
	t.judged = t.span >= judgeAtLeast
	// The medians are of the middles of the thirds, two thirds of the time apart.
	t.grows = t.judged && t.late-t.early > limit*2/3 && t.fit > limit
	return t
}

func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// slope is that of the line of least squares, for each second.
func slope(at []time.Time, values []float64) float64 {
	var sumX, sumY, sumXX, sumXY float64
	n := float64(len(values))
	for i, y := range values {
		x := at[i].Sub(at[0]).Seconds()
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	below := n*sumXX - sumX*sumX
	if below == 0 {
		return 0
	}
	return (n*sumXY - sumX*sumY) / below
}
