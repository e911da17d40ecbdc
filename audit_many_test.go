package caddylogout

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// auditOf has an app write its log where a test can read it, and returns the reader.
func auditOf(a *testApp) func() []map[string]any {
	core, logs := observer.New(zap.InfoLevel)
	a.logTo(zap.New(core))
	return func() []map[string]any {
		var lines []map[string]any
		for _, entry := range logs.TakeAll() {
			if entry.LoggerName == "audit" {
				lines = append(lines, entry.ContextMap())
			}
		}
		return lines
	}
}

// TestRevokeEverybodyIsTold ends the sessions of everybody, and looks for each of
// them in the audit log, with whose it was.
func TestRevokeEverybodyIsTold(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, func(a *App) { a.MaxSessions = new(int) })
	want := make(map[string]int)
	issue := func(identity string, n int) {
		for range n {
			key := storetest.NewKey()
			a.put(t, key, identity, time.Hour)
			want[identity+" "+key.Short()]++
		}
	}
	for i := range 130 {
		issue(fmt.Sprint("person", i), 2)
	}
	issue("busy", 250)

	read := auditOf(a)
	trail := &manager.EverybodyTrail{M: a.Manager, Ctx: t.Context(), By: manager.Trigger{Name: telemetry.ByAdmin, Address: "192.0.2.7"}}
	held := 0
	count, err := a.RevokeEverybody(t.Context(), trail, func(int) { held = max(held, len(trail.Entry.Sessions)) })
	storetest.NoError(t, err)
	if held >= telemetry.MaxAuditHandles {
		t.Errorf("%d sessions are held in memory", held)
	}
	told, parts, got := 0, 0, make(map[string]int)
	for _, line := range read() {
		sessions, _ := line["sessions"].([]any)
		identities, _ := line["identities"].([]any)
		if len(sessions) != len(identities) || len(sessions) > telemetry.MaxAuditHandles || line["event"] != telemetry.EventManyRevoked || line["client_ip"] != "192.0.2.7" {
			t.Errorf("line: %v", line)
		}
		if part, _ := line["part"].(int64); part <= 1 {
			told += int(line["count"].(int64))
		} else {
			parts++
		}
		for i := range sessions {
			got[fmt.Sprint(identities[i], " ", sessions[i])]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d sessions are named, want %d", len(got), len(want))
	}
	if told != count || count != len(want) || parts == 0 {
		t.Errorf("told of %d in lines that %d follow, ended %d, there were %d", told, parts, count, len(want))
	}

	// The log says so even if there was no session.
	_, err = a.RevokeEverybody(t.Context(), &manager.EverybodyTrail{M: a.Manager, Ctx: t.Context()}, func(int) {})
	storetest.NoError(t, err)
	if lines := read(); len(lines) != 1 || lines[0]["count"] != int64(0) {
		t.Errorf("nobody was there: %v", lines)
	}
}

// TestAttackAuditFlood has images of a page ask for the app's logout again and again,
// while people sign in and out: the log has each sign-in and logout, and the lines
// for the images are bounded and counted.
func TestAttackAuditFlood(t *testing.T) {
	t.Parallel()
	const images, people = 5000, 50
	a := newTestApp(t, nil)
	l := newLogout(t, a, signout.AppLogout{Paths: []string{"/logout"}})
	read := auditOf(a)
	image := func() {
		w := serve(t, l, newRequest(t, http.MethodGet, "/logout", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site"), nil)
		if w.Code != http.StatusForbidden {
			t.Fatalf("an image: %d", w.Code)
		}
	}
	for i := range images {
		image()
		if i%(images/people) == 0 {
			c, _ := a.signIn(t, fmt.Sprint("person", i), "")
			serve(t, l, newRequest(t, http.MethodPost, "/logout", sessionCookieLine(c), "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: empty", "Accept: application/json"), nil)
		}
	}
	a.advance(time.Second)
	image()
	refused, leftOut, ended := 0, 0, 0
	for _, line := range read() {
		switch line["event"] {
		case telemetry.EventLogoutRefused:
			refused++
			if n, ok := line["left_out"].(int64); ok {
				leftOut += int(n)
			}
		case telemetry.EventRevoked:
			ended++
		}
	}
	t.Logf("attack: images that fill the audit log: %d tries, %d got through", images, max(0, refused-telemetry.RefusalsAtOnce-1))
	if refused > telemetry.RefusalsAtOnce+1 {
		t.Errorf("%d lines for %d images", refused, images)
	}
	if refused+leftOut != images+1 {
		t.Errorf("%d are told and %d counted, of %d", refused, leftOut, images+1)
	}
	if ended != people {
		t.Errorf("%d logouts are told, of %d", ended, people)
	}

	// A refusal that names a person is never left out.
	for range 2 * telemetry.RefusalsAtOnce {
		a.Audit(nil, telemetry.Entry{Event: telemetry.EventLogoutRefused, Trigger: telemetry.ByApp, Session: "12345678"}.Failed(web.ErrCSRF("")))
	}
	if n := len(read()); n != 2*telemetry.RefusalsAtOnce {
		t.Errorf("%d of %d refusals that name a session are told", n, 2*telemetry.RefusalsAtOnce)
	}
}
