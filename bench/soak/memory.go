//go:build !windows

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// sample is what a Caddy used at one moment.
type sample struct {
	at   time.Time
	life int64
	// rss is memory of the process itself: the system can take back the pages of
	// mapped files, such as the embedded store's.
	rss, heap, goroutines, files float64
}

// memory holds the samples of each Caddy.
type memory struct {
	mu sync.Mutex
	of map[*node][]sample
}

// watchMemory takes a sample of every Caddy now and then.
func (s *soak) watchMemory(ctx context.Context) error {
	s.memory.of = make(map[*node][]sample)
	return every(ctx, s.plan.sample, func() error {
		for _, n := range s.nodes {
			one, err := takeSample(ctx, n)
			if err != nil {
				continue // it is being killed
			}
			s.memory.mu.Lock()
			s.memory.of[n] = append(s.memory.of[n], one)
			s.memory.mu.Unlock()
		}
		return nil
	})
}

var anonymous = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)

// takeSample has the Caddy collect its garbage first.
func takeSample(ctx context.Context, n *node) (one sample, err error) {
	p, life := n.Process(), n.life.Load()
	one = sample{at: time.Now(), life: life}
	if one.heap, err = n.Heap(ctx); err != nil {
		return one, err
	}
	if one.goroutines, err = n.Goroutines(ctx); err != nil {
		return one, err
	}
	text, err := os.ReadFile(p.Proc("status"))
	if err != nil {
		return one, err
	}
	m := anonymous.FindSubmatch(text)
	if m == nil {
		return one, fmt.Errorf("%s has no memory", n.name)
	}
	if one.rss, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return one, err
	}
	one.rss *= 1024
	files, err := os.ReadDir(p.Proc("fd"))
	if err != nil {
		return one, err
	}
	one.files = float64(len(files))
	if life%2 == 0 || n.life.Load() != life {
		return one, fmt.Errorf("%s is not up", n.name)
	}
	return one, nil
}

// longestLife returns the samples of the longest time that a Caddy was up.
func longestLife(all []sample) []sample {
	var longest []sample
	for first := 0; first < len(all); {
		last := first
		for last < len(all) && all[last].life == all[first].life {
			last++
		}
		if last-first > len(longest) {
			longest = all[first:last]
		}
		first = last
	}
	return longest
}
