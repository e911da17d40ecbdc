package caddylogout

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-logout/caddy-logout/internal/deferred"
	"github.com/caddy-logout/caddy-logout/internal/journal"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
)

func TestChanges(t *testing.T) {
	redisAt := func(edit func(*RedisStore)) *RedisStore {
		s := &RedisStore{Address: "127.0.0.1:6379", KeyPrefix: "caddy-logout:", Password: "the-password"}
		if edit != nil {
			edit(s)
		}
		return s
	}
	viaCluster := func(nodes ...string) func(*lasting) {
		return func(l *lasting) { l.place = (&RedisStore{Cluster: nodes}).Place() }
	}
	viaSentinel := func(master string, addresses ...string) func(*lasting) {
		return func(l *lasting) {
			l.place = (&RedisStore{Sentinel: &RedisSentinel{Master: master, Addresses: addresses, Password: "the-password"}}).Place()
		}
	}
	tests := []struct {
		name     string
		was, is  func(*lasting)
		option   string // empty: no warning
		from, to string
		effect   string
	}{
		{name: "nothing"},
		{
			name:   "cookie name",
			is:     func(l *lasting) { l.cookie.Name = "other" },
			option: "cookie", from: "ory_kratos_session", to: "other", effect: effectCookieName,
		},
		{
			name:   "cookie domain",
			is:     func(l *lasting) { l.cookie.Domain = "example.com" },
			option: "cookie domain", from: "none", to: "example.com", effect: effectCookieScope,
		},
		{
			name:   "cookie path",
			is:     func(l *lasting) { l.cookie.Path = "/app" },
			option: "cookie path", from: "/", to: "/app", effect: effectCookieScope,
		},
		{name: "how the cookie is sent", is: func(l *lasting) { l.cookie.SameSite, l.cookie.Persistent = "strict", new(bool) }},
		{
			name:   "another kind of store",
			is:     func(l *lasting) { l.store, l.place = "embedded", (&EmbeddedStore{File: "/x"}).Place() },
			option: "store", from: "redis", to: "embedded", effect: effectStore,
		},
		{
			name:   "another Redis",
			is:     func(l *lasting) { l.place = redisAt(func(s *RedisStore) { s.Address = "10.0.0.5:6379" }).Place() },
			option: "store address", from: "127.0.0.1:6379", to: "10.0.0.5:6379", effect: effectStore,
		},
		{
			name:   "another database",
			is:     func(l *lasting) { l.place = redisAt(func(s *RedisStore) { s.DB = 2 }).Place() },
			option: "store db", from: "0", to: "2", effect: effectStore,
		},
		{
			name:   "another prefix",
			is:     func(l *lasting) { l.place = redisAt(func(s *RedisStore) { s.KeyPrefix = "app:" }).Place() },
			option: "store key_prefix", from: "caddy-logout:", to: "app:", effect: effectStore,
		},
		{name: "another way into the store", is: func(l *lasting) {
			l.place = redisAt(func(s *RedisStore) { s.Password, s.Username, s.PoolSize, s.Timeout = "new", "caddy", 9, 9 }).Place()
		}},
		{name: "one more node of a Cluster", was: viaCluster("a:1", "b:2"), is: viaCluster("b:2", "c:3")},
		{
			name: "another Cluster", was: viaCluster("a:1", "b:2"), is: viaCluster("c:3"),
			option: "store cluster", from: "a:1 b:2", to: "c:3", effect: effectStore,
		},
		{name: "one more Sentinel", was: viaSentinel("main", "a:1"), is: viaSentinel("main", "a:1", "b:2")},
		{
			name: "another master", was: viaSentinel("main", "a:1"), is: viaSentinel("second", "a:1"),
			option: "store sentinel", from: "main", to: "second", effect: effectStore,
		},
		{
			name:   "another file",
			was:    func(l *lasting) { l.store, l.place = "embedded", (&EmbeddedStore{File: "/a.db"}).Place() },
			is:     func(l *lasting) { l.store, l.place = "embedded", (&EmbeddedStore{File: "/b.db"}).Place() },
			option: "store file", from: "/a.db", to: "/b.db", effect: effectStore,
		},
		{name: "idle_timeout, where there was none", is: func(l *lasting) { l.idleTimeout = time.Hour }},
		{
			name:   "a shorter idle_timeout",
			was:    func(l *lasting) { l.idleTimeout = time.Hour },
			is:     func(l *lasting) { l.idleTimeout = time.Minute },
			option: "idle_timeout", from: "1h0m0s", to: "1m0s", effect: effectIdle,
		},
		{name: "a longer idle_timeout", was: func(l *lasting) { l.idleTimeout = time.Minute }, is: func(l *lasting) { l.idleTimeout = time.Hour }},
		{name: "idle_timeout off", was: func(l *lasting) { l.idleTimeout = time.Hour }},
		{
			name:   "accounts that are gone",
			is:     func(l *lasting) { l.accounts = []string{"carol", "alice"} },
			option: "login accounts", from: "2", to: "2", effect: strings.Replace(effectAccounts, "%d", "1", 1),
		},
		{name: "more accounts", is: func(l *lasting) { l.accounts = []string{"carol", "bob", "alice", "bob"} }},
		{
			name:   "another journal, and logouts in the old one",
			was:    func(l *lasting) { l.journal, l.waiting = "/a.db", func() int64 { return 3 } },
			is:     func(l *lasting) { l.journal = "/b.db" },
			option: "durable_logout", from: "/a.db", to: "/b.db", effect: effectJournal,
		},
		{name: "another journal, and none in the old one", was: func(l *lasting) {
			l.journal, l.waiting = "/a.db", func() int64 { return 0 }
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fresh := func(edit func(*lasting)) *lasting {
				l := &lasting{store: "redis", place: redisAt(nil).Place(), accounts: []string{"alice", "bob"}}
				l.cookie.SetDefaults()
				if edit != nil {
					edit(l)
				}
				return l
			}
			var want []change
			if test.option != "" {
				want = []change{{test.option, test.from, test.to, test.effect}}
			}
			got := fresh(test.was).changes(fresh(test.is))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

// TestChangesAfterFailedReload has a configuration start and fail: the next one
// is compared with the one that runs.
func TestChangesAfterFailedReload(t *testing.T) {
	var c configurations
	named := func(name string) lasting {
		l := lasting{store: "redis", place: new(RedisStore).Place()}
		l.cookie.Name = name
		return l
	}
	first, failed, second, third := new(App), new(App), new(App), new(App)
	if got := c.use(first, named("a")); got != nil {
		t.Errorf("the first: %q", got)
	}
	if got := c.use(failed, named("b")); len(got) != 1 {
		t.Errorf("a change: %q", got)
	}
	c.drop(failed)
	c.drop(new(App)) // one that never started
	if got := c.use(second, named("a")); got != nil {
		t.Errorf("no change: %q", got)
	}
	c.drop(first)
	if got := c.use(third, named("b")); len(got) != 1 || got[0].was != "a" {
		t.Errorf("a change: %q", got)
	}
}

// TestWarnOfChanges starts a configuration after another one, as a reload does.
func TestWarnOfChanges(t *testing.T) {
	dir := t.TempDir()
	start := func(cookie string) (logs *observer.ObservedLogs, stop func()) {
		a, cancel := provisioned(t, filepath.Join(dir, "sessions.db"), "")
		a.Cookie.Name = cookie
		core, logs := observer.New(zap.WarnLevel)
		a.logTo(zap.New(core))
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		return logs, func() { cancel(); _ = a.Cleanup() }
	}
	t.Cleanup(deferred.Closes.Flush)
	_, stop := start("one")
	same, stopSame := start("one")
	stop()
	if got := same.All(); len(got) != 0 {
		t.Errorf("nothing has changed: %v", got)
	}
	other, stopOther := start("two")
	stopSame()
	got := other.All()
	if len(got) != 1 || got[0].Message != "reload affects existing sessions" ||
		got[0].ContextMap()["option"] != "cookie" || got[0].ContextMap()["was"] != "one" || got[0].ContextMap()["is"] != "two" {
		t.Errorf("the warning: %v", got)
	}
	stopOther()
}

// provisioned makes an app as Caddy does, on the embedded store.
func provisioned(t *testing.T, file, journal string) (*App, func()) {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"module": "embedded", "file": file})
	if err != nil {
		t.Fatal(err)
	}
	a := &App{StoreRaw: raw}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	if err := a.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	a.site.Manager.JournalFile = journal
	return a, cancel
}

// TestExitClosesEverything ends a process that has been reloaded a moment ago:
// what the old configuration still lends is given back too, the files are closed,
// and no goroutine is left.
func TestExitClosesEverything(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	before := deferred.Closes.Exiting
	defer func() { deferred.Closes.Exiting = before }()
	exiting := false
	deferred.Closes.Exiting = func() bool { return exiting }

	dir := t.TempDir()
	file, pending := filepath.Join(dir, "sessions.db"), filepath.Join(dir, "pending.db")
	first, cancelFirst := provisioned(t, file, pending)
	second, cancelSecond := provisioned(t, file, pending)
	for _, a := range []*App{first, second} {
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
	}
	cancelFirst()
	if err := first.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := second.site.Issue(t.Context(), manager.NewSession{Identity: "alice", Method: "password"}); err != nil {
		t.Fatalf("after the reload: %v", err)
	}
	if deferred.Closes.Waiting() == 0 {
		t.Error("nothing waits for the requests of the old configuration")
	}

	exiting = true
	cancelSecond()
	if err := second.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if n := deferred.Closes.Waiting(); n != 0 {
		t.Errorf("%d things are still to be given back", n)
	}
	for _, name := range []string{"embedded:" + file, pending} {
		for _, pool := range []*caddy.UsagePool{manager.Stores, manager.Journals} {
			if _, there := pool.References(name); there {
				t.Errorf("%s is still open", name)
			}
		}
	}
	// bbolt locks its file: another process can have them now.
	store, err := boltstore.Open(file, time.Now, zap.NewNop)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := store.Keys(t.Context(), "alice"); err != nil || len(keys) != 1 {
		t.Errorf("what is in the file: %v, %v", keys, err)
	}
	j, err := journal.Open(pending)
	if err := errors.Join(err, j.Close(), store.Close()); err != nil {
		t.Error(err)
	}
}
