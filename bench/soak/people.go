//go:build !windows

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// people do rate things in a second until the context is done. When all are busy, it
// leaves things out and does not save them up.
func (s *soak) people(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(s.o.rate))
	defer tick.Stop()
	hands := make(chan struct{}, 48)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case hands <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-hands }()
				s.doSomething(ctx)
			})
		default:
			s.counts.leftOut.Add(1)
		}
	}
}

func (s *soak) doSomething(ctx context.Context) {
	g := s.groups[rand.IntN(len(s.groups))]
	switch dice := rand.IntN(1000); {
	case dice < 100:
		s.signIn(ctx, g, s.somebody(), false)
	case dice < 180:
		if one := g.pick(canEnd); one != nil {
			s.signOutSeen(ctx, g, one)
		}
	case dice < 184:
		s.endOthers(ctx, g, true)
	case dice < 192:
		s.endOthers(ctx, g, false)
	case dice < 330:
		if one := g.pickDead(); one != nil {
			s.check(ctx, g.any(), one)
		}
	default:
		one := g.pick(func(_ *session, stands standing) bool { return stands.state == alive })
		if one != nil {
			s.check(ctx, g.any(), one)
		}
	}
}

// canEnd picks sessions to end; unclear ones need another attempt.
func canEnd(s *session, stands standing) bool {
	return !s.held && (stands.state == alive || (stands.state == unclear && time.Since(stands.since) > 2*time.Second))
}

func (g *group) any() *node { return g.nodes[rand.IntN(len(g.nodes))] }

// It picks an account at random.
func (s *soak) somebody() string { return fmt.Sprintf("person-%02d", rand.IntN(accounts)) }

// accounts is how many people there are, besides those who hold streams.
const accounts = 60

// password is that of all accounts.
const password = "correct-horse-battery-9876"

// flow are the fields of a login flow, and of the response to its submission.
type flow struct {
	UI struct {
		Action string `json:"action"`
		Nodes  []struct {
			Attributes struct {
				Name  string `json:"name"`
				Value any    `json:"value"`
			} `json:"attributes"`
		} `json:"nodes"`
	} `json:"ui"`
	Token string `json:"session_token"`
}

func (f *flow) csrfToken() string {
	for _, n := range f.UI.Nodes {
		if n.Attributes.Name == "csrf_token" {
			text, _ := n.Attributes.Value.(string)
			return text
		}
	}
	return ""
}

// signIn signs in as an app or as a browser does, and notes the session that the
// server acknowledged. It returns nil without one.
func (s *soak) signIn(ctx context.Context, g *group, identity string, held bool) *session {
	n, browser := g.any(), rand.IntN(2) == 0
	began := time.Now()
	kind := "api"
	if browser {
		kind = "browser"
	}
	a, err := s.call(ctx, n, http.MethodGet, "/self-service/login/"+kind, "", acceptJSON)
	if err != nil || !s.want(n, "begin to sign in", a, http.StatusOK) {
		return nil
	}
	var f flow
	if json.Unmarshal([]byte(a.body), &f) != nil {
		s.complain(&s.counts.strange, "a login flow on %s is no JSON", n.name)
		return nil
	}
	form := map[string]string{"method": "password", "identifier": identity, "password": password}
	header := []string{acceptJSON, sendsJSON}
	if browser {
		form["csrf_token"] = f.csrfToken()
		header = append(header, "Cookie: "+cookiesOf(a))
	}
	body, _ := json.Marshal(form)
	action, err := url.Parse(f.UI.Action)
	if err != nil {
		s.complain(&s.counts.strange, "a login flow on %s leads nowhere", n.name)
		return nil
	}
	a, err = s.call(ctx, n, http.MethodPost, action.RequestURI(), string(body), header...)
	if err != nil || !s.want(n, "sign in", a, http.StatusOK) {
		return nil
	}
	one := &session{
		identity: identity, held: held,
		expiresFrom: a.sent.Add(s.plan.lifespan), expiresTo: a.answered.Add(s.plan.lifespan),
	}
	if browser {
		_, rest, _ := strings.Cut("; "+cookiesOf(a), "; "+rig.Cookie+"=")
		one.credential, _, _ = strings.Cut(rest, ";")
	} else if json.Unmarshal([]byte(a.body), &f) == nil {
		one.credential = f.Token
	}
	if one.credential == "" {
		s.complain(&s.counts.strange, "a sign-in on %s brought no session", n.name)
		return nil
	}
	g.add(one, began)
	s.counts.signIns.Add(1)
	return one
}

// cookiesOf turns the cookies of a response into a Cookie header.
func cookiesOf(a answer) string {
	var pairs []string
	for _, line := range a.header.Values("Set-Cookie") {
		pair, _, _ := strings.Cut(line, ";")
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "; ")
}

// want complains about a response that is neither 503 nor the expected one.
func (s *soak) want(n *node, what string, a answer, statuses ...int) bool {
	if slices.Contains(statuses, a.status) {
		return true
	}
	if a.status != http.StatusServiceUnavailable {
		s.complain(&s.counts.strange, "%s on %s: %d with error id %q", what, n.name, a.status, a.header.Get("Ory-Error-Id"))
	}
	return false
}

// check asks a server about a session, through the gate or by whoami, by cookie
// or by token.
func (s *soak) check(ctx context.Context, n *node, one *session) verdict {
	q := question{before: one.stands(), on: n, quiet: n.group.quiet(), settled: s.plan.settled}
	path := "/app/page"
	if rand.IntN(4) == 0 {
		path = "/sessions/whoami"
	}
	a, err := s.send(ctx, n, http.MethodGet, path, "", acceptJSON, one.asHeader())
	if err != nil {
		// An open request ends with its session.
		if one.stands().state == alive && !errors.Is(err, errGone) && ctx.Err() == nil {
			s.complain(&s.counts.unanswered, "check on %s: %v", n.name, err)
		}
		return open
	}
	q.sent, q.answered, q.status, q.after = a.sent, a.answered, a.status, one.stands()
	found := one.judge(q)
	if a.status == http.StatusOK && path == "/app/page" && a.body != "user "+one.identity {
		found = accepted
		s.complain(nil, "the app got the id of another person")
	}
	s.counts.checks.Add(1)
	s.note(found, n, one, q)
	return found
}

// note counts the verdict on a response.
func (s *soak) note(found verdict, n *node, one *session, q question) {
	switch found {
	case lost:
		s.complain(&s.counts.lost, "lost: %s, signed in %v ago, on %s; quiet for %v",
			one.identity, time.Since(one.expiresTo.Add(-s.plan.lifespan)).Round(time.Millisecond), n.name, q.quiet.Round(time.Millisecond))
	case accepted:
		by := "nobody"
		if q.before.by != nil {
			by = q.before.by.name
		}
		s.complain(&s.counts.accepted, "accepted: %s, in state %d for %v by %s, on %s; quiet for %v, %v to its end",
			one.identity, q.before.state, q.sent.Sub(q.before.since).Round(time.Millisecond), by, n.name,
			q.quiet.Round(time.Millisecond), one.expiresTo.Sub(q.sent).Round(time.Millisecond))
	case strange:
		s.complain(&s.counts.strange, "check on %s: %d", n.name, q.status)
	case right:
		if q.status == http.StatusUnauthorized {
			s.counts.refused.Add(1)
		}
	case open, away:
	}
}

func (s *session) asHeader() string {
	switch rand.IntN(3) {
	case 0:
		return "Cookie: theme=dark; " + rig.Cookie + "=" + s.credential
	case 1:
		return "X-Session-Token: " + s.credential
	}
	return "Authorization: Bearer " + s.credential
}

// signOutSeen ends a session that every server has in its memory, and checks it on
// all of them at once, and again as soon as none may accept it.
func (s *soak) signOutSeen(ctx context.Context, g *group, one *session) {
	ask := func() {
		for _, n := range g.nodes {
			s.check(ctx, n, one)
		}
	}
	ask()
	s.signOut(ctx, g, one)
	ask()
	wait(ctx, lagBound+50*time.Millisecond)
	ask()
}

// signOut ends a session in a random way.
func (s *soak) signOut(ctx context.Context, g *group, one *session) {
	n := g.any()
	before, alone := one.try()
	var a answer
	var err error
	switch {
	case before.state == alive && rand.IntN(2) == 0:
		a, err = s.signOutBrowser(ctx, n, one)
	case rand.IntN(2) == 0:
		a, err = s.call(ctx, n, http.MethodDelete, "/self-service/logout/api", "", acceptJSON, "Authorization: Bearer "+one.credential)
	default:
		a, err = s.call(ctx, n, http.MethodDelete, "/self-service/logout/api", `{"session_token":"`+one.credential+`"}`, acceptJSON, sendsJSON)
	}
	if err != nil {
		return
	}
	switch a.status {
	case http.StatusNoContent, http.StatusSeeOther:
		one.become(ended, n)
		s.counts.signOuts.Add(1)
	case http.StatusAccepted:
		one.become(pending, n)
		s.counts.pending.Add(1)
		s.mu.Lock()
		s.pendings = append(s.pendings, owned{one, g})
		s.mu.Unlock()
	case http.StatusUnauthorized, http.StatusForbidden:
		// An earlier attempt may have ended it.
		switch {
		case before.state == alive && alone() && a.answered.Before(one.expiresFrom.Add(-clockSlack)):
			s.complain(&s.counts.lost, "lost: %s cannot sign out on %s: %d", one.identity, n.name, a.status)
		case before.state == unclear:
			one.become(ended, n)
		}
	default:
		s.want(n, "sign out", a)
	}
}

// signOutBrowser requests the logout URL and follows it.
func (s *soak) signOutBrowser(ctx context.Context, n *node, one *session) (answer, error) {
	cookie := "Cookie: " + rig.Cookie + "=" + one.credential
	a, err := s.call(ctx, n, http.MethodGet, "/self-service/logout/browser", "", acceptJSON, cookie)
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	var logout struct {
		Token string `json:"logout_token"`
	}
	if json.Unmarshal([]byte(a.body), &logout) != nil {
		s.complain(&s.counts.strange, "a logout flow on %s is no JSON", n.name)
	}
	return s.call(ctx, n, http.MethodGet, "/self-service/logout?token="+url.QueryEscape(logout.Token), "", acceptHTML, cookie)
}

// endOthers ends the other sessions of a person, from one of them; or all.
func (s *soak) endOthers(ctx context.Context, g *group, all bool) {
	own := g.pick(func(one *session, stands standing) bool { return !one.held && stands.state == alive })
	if own == nil {
		return
	}
	n, path, except := g.any(), "/sessions", own
	if all {
		path, except = "/sessions?all=true", nil
	}
	done := g.endAll(own.identity, except)
	a, err := s.call(ctx, n, http.MethodDelete, path, "", acceptJSON, "X-Session-Token: "+own.credential)
	switch {
	case err == nil && a.status == http.StatusOK:
		done(ended, n)
		s.counts.endedAll.Add(1)
		return
	case err == nil && a.status == http.StatusUnauthorized:
		// Another client ended this session meanwhile.
	case err == nil:
		s.want(n, "end the others", a)
	}
	done(unclear, nil)
}
