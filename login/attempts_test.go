package login

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

type clock struct{ time time.Time }

func (c *clock) now() time.Time          { return c.time }
func (c *clock) advance(d time.Duration) { c.time = c.time.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

var small = Limits{
	Pair:    Limit{Tries: 3, Window: 15 * time.Minute},
	Account: Limit{Tries: 6, Window: 15 * time.Minute},
	Address: Limit{Tries: 5, Window: 5 * time.Minute},
}

// try is a failed try, or one with the right password.
type try struct {
	account, address string
	after            time.Duration
	right            bool
	// want is how long to wait; zero: allowed.
	want time.Duration
}

func TestAttempts(t *testing.T) {
	const here, there = "192.0.2.1", "192.0.2.2"
	tests := []struct {
		name  string
		tries []try
	}{
		{"a pair is blocked, the owner elsewhere is not", []try{
			{account: "alice", address: here},
			{account: "alice", address: here, after: time.Minute},
			{account: "alice", address: here, after: time.Minute},
			{account: "alice", address: here, after: time.Minute, want: 12 * time.Minute},
			{account: "alice", address: there},
			{account: "bob", address: here},
			{account: "alice", address: here, after: 12*time.Minute - 1, want: 1},
			{account: "alice", address: here, after: 1},
			{account: "alice", address: here},
			{account: "alice", address: here},
			{account: "alice", address: here, want: 15 * time.Minute},
		}},
		{"an address is blocked at all accounts", []try{
			{account: "a", address: here},
			{account: "b", address: here},
			{account: "c", address: here},
			{account: "d", address: here},
			{account: "e", address: here},
			{account: "f", address: here, want: 5 * time.Minute},
			{account: "f", address: there},
			{account: "f", address: here, after: 5 * time.Minute},
		}},
		{"an account is blocked from all addresses but the owner's", []try{
			{account: "alice", address: here, right: true},
			{account: "alice", address: "203.0.113.1"},
			{account: "alice", address: "203.0.113.2"},
			{account: "alice", address: "203.0.113.3"},
			{account: "alice", address: "203.0.113.4"},
			{account: "alice", address: "203.0.113.5"},
			{account: "alice", address: "203.0.113.6"},
			{account: "alice", address: "203.0.113.7", want: 15 * time.Minute},
			{account: "alice", address: there, want: 15 * time.Minute},
			{account: "alice", address: here, right: true},
			{account: "bob", address: "203.0.113.7"},
		}},
		{"an IPv6 network is one address", []try{
			{account: "alice", address: "2001:db8::1"},
			{account: "alice", address: "2001:db8::2"},
			{account: "alice", address: "2001:db8:0:0:ffff::3"},
			{account: "alice", address: "2001:db8::4", want: 15 * time.Minute},
			{account: "alice", address: "2001:db8:0:1::4"},
		}},
		{"an IPv4 address in IPv6 is itself", []try{
			{account: "alice", address: here},
			{account: "alice", address: "::ffff:192.0.2.1"},
			{account: "alice", address: here},
			{account: "alice", address: "::ffff:192.0.2.1", want: 15 * time.Minute},
			{account: "alice", address: "::ffff:192.0.2.2"},
		}},
		{"what is no address counts too", []try{
			{account: "alice", address: ""},
			{account: "alice", address: ""},
			{account: "alice", address: ""},
			{account: "alice", address: "", want: 15 * time.Minute},
		}},
		{"the right password clears the pair", []try{
			{account: "alice", address: here},
			{account: "alice", address: here},
			{account: "alice", address: here, right: true},
			{account: "alice", address: here},
			{account: "alice", address: here},
			{account: "alice", address: here, right: true},
		}},
		{"the right password does not clear the address", []try{
			{account: "a", address: here},
			{account: "b", address: here},
			{account: "mallory", address: here, right: true},
			{account: "c", address: here},
			{account: "d", address: here},
			{account: "mallory", address: here, right: true},
			{account: "e", address: here},
			{account: "f", address: here, want: 5 * time.Minute},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clock := newClock()
			attempts := NewAttempts(small, clock.now)
			for i, try := range test.tries {
				clock.advance(try.after)
				wait, ok := attempts.Begin(try.account, try.address)
				if wait != try.want || ok != (try.want == 0) {
					t.Fatalf("try %d waits %v (allowed: %v), want %v", i, wait, ok, try.want)
				}
				if try.right {
					attempts.Succeeded(try.account, try.address)
				}
			}
		})
	}
}

func TestAttemptsWithdrawn(t *testing.T) {
	attempts := NewAttempts(small, newClock().now)
	for range 100 {
		if wait, ok := attempts.Begin("alice", "192.0.2.1"); !ok {
			t.Fatalf("has to wait %v for tries that were withdrawn", wait)
		}
		attempts.Withdrawn("alice", "192.0.2.1")
	}
	if n := attempts.pairs.recent.Len() + attempts.accounts.recent.Len() + attempts.addresses.recent.Len(); n != 0 {
		t.Errorf("%d counts are left", n)
	}
}

// TestAttemptsTogether checks that tries made at one time cannot all pass
// before the first of them is known to have failed.
func TestAttemptsTogether(t *testing.T) {
	attempts := NewAttempts(DefaultLimits, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 200 {
		wg.Go(func() {
			if _, ok := attempts.Begin("alice", "192.0.2.1"); ok {
				mu.Lock()
				allowed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if allowed != DefaultLimits.Pair.Tries {
		t.Errorf("%d tries passed, want %d", allowed, DefaultLimits.Pair.Tries)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	clock := newClock()
	attempts := NewAttempts(small, clock.now)
	attempts.Succeeded("owner", "192.0.2.1")
	for i := range maxCounts + 100 {
		if _, ok := attempts.Begin(fmt.Sprintf("name %d", i), fmt.Sprintf("address %d", i)); !ok {
			t.Fatalf("try %d is not allowed", i)
		}
	}
	for name, c := range map[string]*counts{"pairs": attempts.pairs, "accounts": attempts.accounts, "addresses": attempts.addresses} {
		if c.recent.Len() != maxCounts || len(c.byName) != maxCounts {
			t.Errorf("%s: %d counts are kept, want %d", name, c.recent.Len(), maxCounts)
		}
	}
	pair, _, _ := attempts.names("owner", "192.0.2.1")
	if !attempts.known.has(pair) {
		t.Error("failed tries pushed out an owner's address")
	}
}

// TestAttemptsOutlastNewNames checks that new names push out a count only when they
// are as many as there may be, however often the others in the table were counted:
// else someone who guesses could be rid of their own with a few names made up.
func TestAttemptsOutlastNewNames(t *testing.T) {
	limit, now := DefaultLimits.Pair, newClock().time
	c, mine := newCounts(maxCounts), name{15: 1}
	other := func(i int) (n name) {
		binary.LittleEndian.PutUint64(n[:], uint64(i))
		return n
	}
	for range limit.Tries {
		for i := range maxCounts {
			c.add(other(i), limit, now)
		}
	}
	for range limit.Tries - 1 {
		c.add(mine, limit, now)
	}
	for i := range maxCounts - 1 {
		c.add(other(maxCounts+i), limit, now)
	}
	c.add(mine, limit, now)
	if c.blocked(mine, limit, now) == 0 {
		t.Error("new names pushed out a count that was touched after most of the others")
	}
}

// BenchmarkAttempts attempts to sign in under known names, and under new ones when
// every table is full.
func BenchmarkAttempts(b *testing.B) {
	b.Run("known", func(b *testing.B) {
		attempts := NewAttempts(DefaultLimits, nil)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			account := strconv.Itoa(i % 100)
			if _, ok := attempts.Begin(account, "192.0.2.1"); !ok {
				b.Fatal("blocked")
			}
			attempts.Withdrawn(account, "192.0.2.1")
		}
	})
	b.Run("new", func(b *testing.B) {
		attempts := NewAttempts(DefaultLimits, nil)
		try := func(i int) {
			if _, ok := attempts.Begin(strconv.Itoa(i), strconv.Itoa(i)); !ok {
				b.Fatal("blocked")
			}
		}
		for i := range maxCounts {
			try(i)
		}
		b.ReportAllocs()
		for i := maxCounts; b.Loop(); i++ {
			try(i)
		}
	})
}

// BenchmarkAttemptsMemory weighs a full table of counts, and the same after ten
// times as many names have gone through it.
func BenchmarkAttemptsMemory(b *testing.B) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	for b.Loop() {
		before, c := heap(), newCounts(maxCounts)
		add := func(from, to uint64) float64 {
			for i := from; i < to; i++ {
				var n name
				binary.LittleEndian.PutUint64(n[:], i)
				c.add(n, DefaultLimits.Pair, time.Time{})
			}
			return float64(heap()-before) / (1 << 20)
		}
		b.ReportMetric(add(0, maxCounts), "MiB-full")
		b.ReportMetric(add(maxCounts, 11*maxCounts), "MiB-later")
		runtime.KeepAlive(c)
	}
}
