//go:build !windows

// This file holds a run: its servers, its people, its counts, and the last look
// at every session.

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
)

// counts is what happened. Those of the first group must stay 0.
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
	dir       string
	begin     time.Time
	redis     *redisServer
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

// maxComplaints is how many are told in full.
const maxComplaints = 30

// complain counts something that must not be, and says what it was.
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
	if s.dir, err = os.MkdirTemp("", "caddy-logout-soak-"); err != nil {
		return nil, err
	}
	if err := s.startAll(ctx); err != nil {
		s.close(true)
		return nil, err
	}
	return s, nil
}

func (s *soak) startAll(ctx context.Context) error {
	if _, err := os.Stat(s.o.caddy); err != nil {
		return fmt.Errorf("%w (make build)", err)
	}
	caddy, err := filepath.Abs(s.o.caddy)
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
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	s.redis = &redisServer{addr: addr, dir: s.dir}
	if err := s.redis.start(ctx); err != nil {
		return err
	}
	common := fmt.Sprintf("\n\t\tlifespan %s", s.plan.lifespan)
	// A cache that is full after a few minutes: it grows no more.
	shared := "store redis " + addr + common + "\n\t\tnear_cache {\n\t\t\tentries 2000\n\t\t}\n\t\tdurable_logout"
	inRedis, inFile := newGroup("redis"), newGroup("embedded")
	s.groups = []*group{inRedis, inRedis, inFile} // two thirds of what people do
	for _, n := range []*node{
		{name: "redis-1", group: inRedis, sessions: shared},
		{name: "redis-2", group: inRedis, sessions: shared},
		{name: "embedded", group: inFile, sessions: "store embedded" + common},
	} {
		n.app, n.caddy, n.env, n.client, n.dir = app, caddy, s.o.env, newClient(), filepath.Join(s.dir, n.name)
		if n.addr, err = freeAddr(ctx); err != nil {
			return err
		}
		if n.admin, err = freeAddr(ctx); err != nil {
			return err
		}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
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

// writeAccounts writes the file of those who may sign in. The lowest cost keeps
// sign-ins from being all that a Caddy does.
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
	return os.WriteFile(filepath.Join(s.dir, "accounts"), []byte(file.String()), 0o600)
}

// soak lets everything happen at once for as long as was asked for, and then
// looks at every session once more.
func (s *soak) soak(ctx context.Context) error {
	during, stop := context.WithTimeout(ctx, s.o.last)
	defer stop()
	broken := make(chan error, 1) // what goes on in a run that cannot
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

// audit waits until all is well and asks every server about every session.
func (s *soak) audit(ctx context.Context) error {
	for _, n := range s.nodes {
		err := n.proc.Load().until(ctx, startWithin, func() bool { return n.ready(ctx) && s.pendingOn(ctx, n) == 0 })
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

// watchPending looks now and then whether logouts that were noted have been done.
func (s *soak) watchPending(ctx context.Context) error {
	return every(ctx, s.plan.sample, func() error {
		s.confirmPending(ctx, s.plan.settled)
		return nil
	})
}

// confirmPending asks every server about the sessions whose logout was noted, as
// soon as there has been no trouble for long enough.
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

// auditOne asks a server about a session until it says yes or no. All is well
// now: what is pending has been done.
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

// pendingOn asks how many logouts wait in the journal of a server.
func (s *soak) pendingOn(ctx context.Context, n *node) int {
	_, body, err := fetch(ctx, n.adminURL("/metrics"))
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

// readLogs looks for what must not be in the logs of the Caddys.
func (s *soak) readLogs() error {
	for _, n := range s.nodes {
		text, err := os.ReadFile(n.log())
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

// ownCPU is what this program and all that it started have used.
func (s *soak) ownCPU() float64 {
	total := statCPU("/proc/self/stat")
	for _, p := range s.running() {
		total += statCPU(p.proc("stat"))
	}
	return total
}

// running returns the processes that have not ended.
func (s *soak) running() []*process {
	var all []*process
	if s.redis != nil && s.redis.process != nil {
		all = append(all, s.redis.process)
	}
	for _, n := range s.nodes {
		if p := n.proc.Load(); p != nil {
			all = append(all, p)
		}
	}
	running := all[:0]
	for _, p := range all {
		if !p.ended() {
			running = append(running, p)
		}
	}
	return running
}

// close ends everything, and keeps the logs where something was wrong.
func (s *soak) close(wrong bool) {
	for _, n := range s.nodes {
		n.client.CloseIdleConnections()
	}
	for _, p := range s.running() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		p.end(syscall.SIGTERM)
	}
	if s.closeApp != nil {
		s.closeApp()
	}
	if wrong {
		fmt.Fprintln(s.o.out, "the logs are in", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
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
