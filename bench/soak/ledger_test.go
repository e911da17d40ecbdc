//go:build !windows

package main

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	var (
		here, there = &node{name: "here"}, &node{name: "there"}
		began       = time.Now()
		at          = func(d time.Duration) time.Time { return began.Add(d) }
		life        = time.Hour
		is          = func(state state, since time.Duration, by *node) standing {
			return standing{state: state, since: at(since), by: by}
		}
	)
	tests := []struct {
		name          string
		before, after standing
		sent          time.Duration
		quiet         time.Duration
		status        int
		want          verdict
	}{
		{"alive and accepted", is(alive, 0, nil), is(alive, 0, nil), time.Minute, 0, 200, right},
		{"alive and refused", is(alive, 0, nil), is(alive, 0, nil), time.Minute, 0, 401, lost},
		{"alive, refused, and tried meanwhile", is(alive, 0, nil), is(unclear, time.Minute, nil), time.Minute, 0, 401, open},
		{"alive, refused at its end", is(alive, 0, nil), is(alive, 0, nil), life, 0, 401, open},
		{"accepted after its end", is(alive, 0, nil), is(alive, 0, nil), life + 5*time.Second, 0, 200, accepted},
		{"unclear and accepted", is(unclear, 0, nil), is(unclear, 0, nil), time.Minute, 0, 200, open},
		{"unclear and refused", is(unclear, 0, nil), is(unclear, 0, nil), time.Minute, 0, 401, open},
		{"ended here, accepted here", is(ended, 0, here), is(ended, 0, here), time.Millisecond, 0, 200, accepted},
		{"ended there, accepted here within the bound", is(ended, 0, there), is(ended, 0, there), lagBound, 0, 200, open},
		{"ended there, accepted here after it", is(ended, 0, there), is(ended, 0, there), lagBound + 1, 0, 200, accepted},
		{"ended and refused", is(ended, 0, there), is(ended, 0, there), time.Second, 0, 401, right},
		{"alive when it was asked, ended since", is(alive, 0, nil), is(ended, 2*time.Second, here), time.Second, 0, 200, open},
		{"pending here, accepted here", is(pending, 0, here), is(pending, 0, here), time.Millisecond, 0, 200, accepted},
		{"pending there, accepted here, trouble", is(pending, 0, there), is(pending, 0, there), time.Minute, time.Second, 200, open},
		{"pending there, accepted here, long quiet", is(pending, 0, there), is(pending, 0, there), time.Minute, time.Minute, 200, accepted},
		{"pending and refused", is(pending, 0, there), is(pending, 0, there), time.Second, 0, 401, right},
		{"an outage", is(alive, 0, nil), is(alive, 0, nil), time.Minute, 0, 503, away},
		{"cut, as it ended", is(alive, 0, nil), is(unclear, time.Minute, nil), time.Minute, 0, 499, open},
		{"cut, and alive", is(alive, 0, nil), is(alive, 0, nil), time.Minute, 0, 499, strange},
		{"anything else", is(alive, 0, nil), is(alive, 0, nil), time.Minute, 0, 500, strange},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &session{expiresFrom: at(life), expiresTo: at(life)}
			got := s.judge(question{
				before: test.before, after: test.after, on: here, sent: at(test.sent), answered: at(test.sent),
				quiet: test.quiet, settled: 15 * time.Second, status: test.status,
			})
			if got != test.want {
				t.Errorf("verdict %d, want %d", got, test.want)
			}
		})
	}
}

func TestLedger(t *testing.T) {
	n := &node{}
	fresh := func(identity string) *session {
		return &session{identity: identity, expiresFrom: time.Now().Add(time.Hour), expiresTo: time.Now().Add(time.Hour)}
	}
	g := newGroup("test")
	before, other := fresh("a"), fresh("b")
	began := time.Now()
	g.add(before, began)
	g.add(other, began)

	// A sign-in that crosses the end of all sessions may be one of them.
	done := g.endAll("a", nil)
	during := fresh("a")
	g.add(during, began)
	done(ended, n)
	crossed := fresh("a")
	g.add(crossed, began)
	after := fresh("a")
	g.add(after, time.Now().Add(time.Millisecond))
	for name, want := range map[string]struct {
		s     *session
		state state
	}{
		"before": {before, ended}, "during": {during, unclear}, "crossed": {crossed, unclear},
		"after": {after, alive}, "another person": {other, alive},
	} {
		if got := want.s.stands().state; got != want.state {
			t.Errorf("%s: state %d, want %d", name, got, want.state)
		}
	}

	// A client that tries to end a session knows whether another has tried too.
	stood, alone := after.try()
	if stood.state != alive || !alone() {
		t.Errorf("the first try: %v, alone %v", stood, alone())
	}
	if _, second := after.try(); alone() || !second() {
		t.Error("the second try is not noticed")
	}

	// pick returns no ended session.
	after.become(ended, n)
	for range 200 {
		if s := g.pick(func(s *session, _ standing) bool { return true }); s == before || s == after {
			t.Fatal("picked one that is over")
		}
	}
	if g.pickDead() == nil {
		t.Error("those that are over are forgotten")
	}
}
