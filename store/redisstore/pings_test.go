package redisstore

import (
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/clocktest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// TestPings proves by the time at which a PING was sent, with both readings of
// it: a proof from before a suspend has ended after it, and the next one counts.
func TestPings(t *testing.T) {
	clock := &clocktest.Clock{Time: time.Now()}
	p := newPings(clock.Now)
	first := p.next()
	clock.Time = clocktest.Suspended(clock.Time, time.Hour)
	second := p.next()
	sent, err := p.answered(first)
	storetest.NoError(t, err)
	if session.Within(clock.Time, sent.Add(watchProof)) {
		t.Error("a PING from before the suspend proves something after it")
	}
	sent, err = p.answered(second)
	storetest.NoError(t, err)
	if !session.Within(clock.Time, sent.Add(watchProof)) {
		t.Error("a PING from after the suspend proves nothing")
	}
	for _, text := range []string{first, second, "3", "", "x"} {
		if _, err := p.answered(text); err == nil {
			t.Errorf("%q is taken for the response to a PING", text)
		}
	}
}
