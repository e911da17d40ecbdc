//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// counts are the counts of a run. Those of the first group must stay 0.
type counts struct {
	lost, accepted, cutAlive, strange, unanswered, leftPending, secrets, panics atomic.Int64

	requests, checks, refused, signIns, signOuts, endedAll  atomic.Int64
	streams, streamsCut, pending, replayed, pendingExpired  atomic.Int64
	away, awayInQuiet, again, leftOut                       atomic.Int64
	reloads, redisKills, redisPauses, nodeKills, failedLoad atomic.Int64
}

// soak is one run.
type soak struct {
	o         *options
	plan      plan
	begin     time.Time
	rig       *rig.Rig
	redis     *rig.Redis
	closeApp  func()
	nodes     []*node
	groups    []*group
	streaming *http.Transport
	counts    counts
	lags      lags
	memory    memory
	wg        sync.WaitGroup

	mu         sync.Mutex
	complaints []string
	pendings   []owned // logouts that were answered 202, and not seen done yet
}

// owned is a session with its group.
type owned struct {
	*session
	group *group
}

// maxComplaints is how many complaints the output shows.
const maxComplaints = 30

// complain counts a fault, and prints it.
func (s *soak) complain(count *atomic.Int64, format string, args ...any) {
	if count != nil {
		count.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.complaints) >= maxComplaints {
		return
	}
	text := fmt.Sprintf("%v: %s", time.Since(s.begin).Round(time.Millisecond), fmt.Sprintf(format, args...))
	s.complaints = append(s.complaints, text)
	fmt.Fprintln(s.o.out, "!!", text)
}

// newSoak starts all servers.
func newSoak(ctx context.Context, o *options) (*soak, error) {
	s := &soak{o: o, plan: newPlan(o.last), begin: time.Now(), streaming: &http.Transport{DisableKeepAlives: true}}
	var err error
	if s.rig, err = rig.New("soak"); err != nil {
		return nil, err
	}
	if err := s.startAll(ctx); err != nil {
		s.close(true)
		return nil, err
	}
	return s, nil
}

func (s *soak) startAll(ctx context.Context) error {
	caddy, err := rig.FindCaddy(s.o.caddy)
	if err != nil {
		return err
	}
	if err := s.writeAccounts(); err != nil {
		return err
	}
	app, closeApp, err := serveApp(ctx)
	if err != nil {
		return err
	}
	s.closeApp = closeApp
	// Redis syncs to disk before it acknowledges.
	s.redis, err = s.rig.StartRedis(ctx, "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return err
	}
	common := fmt.Sprintf("\nlifespan %s", s.plan.lifespan)
	// A cache that is full after a few minutes grows no more.
	shared := "store redis " + s.redis.Addr + common + "\nnear_cache {\nentries 2000\n}\ndurable_logout"
	inRedis, inFile := newGroup("redis"), newGroup("embedded")
	s.groups = []*group{inRedis, inRedis, inFile} // two thirds of the load
	for _, n := range []*node{
		{name: "redis-1", group: inRedis, sessions: shared},
		{name: "redis-2", group: inRedis, sessions: shared},
		{name: "embedded", group: inFile, sessions: "store embedded" + common},
	} {
		n.app, n.accounts, n.client = app, s.accountsFile(), newClient()
		if n.Caddy, err = s.rig.NewCaddy(ctx, caddy, n.name, s.o.env...); err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
		n.group.nodes = append(n.group.nodes, n)
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writeAccounts writes the accounts file. The lowest cost leaves a Caddy time for
// other requests than sign-ins.
func (s *soak) writeAccounts() error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	var file strings.Builder
	for i := range accounts {
		fmt.Fprintf(&file, "person-%02d:%s\n", i, hash)
	}
	for i := range holders {
		fmt.Fprintf(&file, "holder-%02d:%s\n", i, hash)
	}
	return os.WriteFile(s.accountsFile(), []byte(file.String()), 0o600)
}

// accountsFile names the accounts file.
func (s *soak) accountsFile() string { return filepath.Join(s.rig.Dir, "accounts") }

// soak runs everything at once for the wanted time, and then checks every session
// once more.
func (s *soak) soak(ctx context.Context) error {
	during, stop := context.WithTimeout(ctx, s.o.last)
	defer stop()
	broken := make(chan error, 1) // an error that ends the run
	for _, work := range []func(context.Context) error{s.reloadAll, s.redisAway, s.killAll, s.watchMemory, s.watchPending} {
		s.wg.Go(func() {
			if err := work(during); err != nil {
				select {
				case broken <- err:
				default:
				}
				stop()
			}
		})
	}
	for _, g := range []*group{s.groups[0], s.groups[2]} {
		for i := range holders {
			s.wg.Go(func() { s.hold(ctx, during, g, fmt.Sprintf("holder-%02d", i)) })
		}
	}
	s.people(during)
	s.wg.Wait()
	select {
	case err := <-broken:
		return err
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.audit(ctx); err != nil {
		return err
	}
	return s.readLogs()
}

// audit waits until all servers work and checks every session on every server.
func (s *soak) audit(ctx context.Context) error {
	for _, n := range s.nodes {
		err := n.Process().Until(ctx, func() bool { return n.ready(ctx) && s.pendingOn(ctx, n) == 0 })
		if err != nil {
			s.complain(&s.counts.leftPending, "at the end %s %v, with %d pending logouts", n.name, err, s.pendingOn(ctx, n))
		}
	}
	for _, g := range []*group{s.groups[0], s.groups[2]} {
		for _, one := range g.all() {
			for _, n := range g.nodes {
				s.auditOne(ctx, n, one)
			}
		}
	}
	s.confirmPending(ctx, 0)
	return ctx.Err()
}

// watchPending checks now and then whether the servers have done the pending logouts.
func (s *soak) watchPending(ctx context.Context) error {
	return every(ctx, s.plan.sample, func() error {
		s.confirmPending(ctx, s.plan.settled)
		return nil
	})
}

// confirmPending checks the sessions of pending logouts on every server, once there
// has been no trouble for long enough.
func (s *soak) confirmPending(ctx context.Context, calm time.Duration) {
	s.mu.Lock()
	all := s.pendings
	s.pendings = nil
	s.mu.Unlock()
	for _, one := range all {
		switch {
		case !time.Now().Before(one.expiresFrom):
			s.counts.pendingExpired.Add(1)
		case min(one.group.quiet(), time.Since(one.stands().since)) >= calm && s.refusedByAll(ctx, one):
			s.counts.replayed.Add(1)
		default:
			s.mu.Lock()
			s.pendings = append(s.pendings, one)
			s.mu.Unlock()
		}
	}
}

func (s *soak) refusedByAll(ctx context.Context, one owned) bool {
	for _, n := range one.group.nodes {
		if s.check(ctx, n, one.session) != right {
			return false
		}
	}
	return true
}

// auditOne checks a session on a server until it says yes or no. All servers work
// now, so pending logouts are done.
func (s *soak) auditOne(ctx context.Context, n *node, one *session) {
	for range 20 {
		q := question{before: one.stands(), on: n, quiet: time.Hour, settled: s.plan.settled}
		if q.before.state == pending {
			q.before.since = q.before.since.Add(-time.Hour)
		}
		a, err := s.call(ctx, n, http.MethodGet, "/sessions/whoami", "", acceptJSON, one.asHeader())
		if err != nil {
			return
		}
		q.sent, q.answered, q.status, q.after = a.sent, a.answered, a.status, one.stands()
		found := one.judge(q)
		if found != away {
			s.counts.checks.Add(1)
			s.note(found, n, one, q)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
	s.complain(&s.counts.strange, "%s goes on to answer 503 after the end of all trouble", n.name)
}

// pendingOn returns how many logouts wait in the journal of a server.
func (s *soak) pendingOn(ctx context.Context, n *node) int {
	_, body, err := rig.Fetch(ctx, n.AdminURL("/metrics"))
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "caddy_sessions_pending_logouts "); ok {
			count := -1
			_, _ = fmt.Sscan(value, &count)
			return count
		}
	}
	return 0 // it keeps no journal
}

// readLogs looks for secrets, panics and data races in the logs of the Caddys.
func (s *soak) readLogs() error {
	for _, n := range s.nodes {
		text, err := os.ReadFile(n.Log())
		if err != nil {
			return err
		}
		log := string(text)
		for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
			if count := strings.Count(log, bad); count > 0 {
				s.complain(nil, "the log of %s has %q", n.name, bad)
				s.counts.panics.Add(int64(count))
			}
		}
		for _, secret := range []string{"ory_st_", password} {
			if count := strings.Count(log, secret); count > 0 {
				s.complain(nil, "the log of %s shows a secret", n.name)
				s.counts.secrets.Add(int64(count))
			}
		}
	}
	return nil
}

// close ends everything, and keeps the logs after a fault.
func (s *soak) close(wrong bool) {
	for _, n := range s.nodes {
		n.client.CloseIdleConnections()
	}
	if s.redis != nil {
		_ = s.redis.Signal(syscall.SIGCONT) // it may be stopped
	}
	s.rig.Close(wrong)
	if s.closeApp != nil {
		s.closeApp()
	}
	if wrong {
		fmt.Fprintln(s.o.out, "the logs are in", s.rig.Dir)
	}
}

// verdict is an error that says what was wrong, if anything was.
func (s *soak) verdict(grown []string) error {
	var wrong []string
	for _, c := range s.mustBeZero() {
		if c.n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	wrong = append(wrong, grown...)
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}
