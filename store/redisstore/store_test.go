package redisstore

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-logout/caddy-logout/internal/nearcache"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
	"github.com/caddy-logout/caddy-logout/session"
	"github.com/caddy-logout/caddy-logout/store/storetest"
)

// startRedis starts a server and opens a store on it until the test ends.
func startRedis(t *testing.T) (*redistest.Server, storetest.Contract) {
	t.Helper()
	server := redistest.Start(t)
	clock := storetest.NewClock()
	store := connect(t, config{Address: server.Addr()}, clock.Now)
	t.Cleanup(func() { _ = store.Close() })
	return server, storetest.Contract{Clock: clock, Store: store}
}

func TestRedisContract(t *testing.T) {
	server := redistest.Start(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return connect(t, config{Address: server.Addr(), Timeout: patient}, now)
	})
}

// TestRedisLeastPrivileges runs the whole contract as the user of docs/redis.md.
func TestRedisLeastPrivileges(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "admin")
	line := redistest.DocBlock(t, "redis", "ACL SETUSER caddy-logout ")
	server.CLI(t, strings.Fields(strings.ReplaceAll(line, "PASSWORD", "a-password"))...)
	storetest.Run(t, func(t *testing.T, now func() time.Time) session.Store {
		t.Helper()
		return connect(t, config{Address: server.Addr(), Username: "caddy-logout", Password: "a-password", Timeout: patient}, now)
	})
	store := connect(t, config{Address: server.Addr(), Username: "caddy-logout", Password: "a-password", Timeout: patient}, time.Now)
	defer store.Close()
	cache := nearcache.New(10, 0)
	defer store.Watch(cache)()
	storetest.WaitFor(t, "armed", func() bool { return cache.Stats().Armed })
	// None is there for nothing.
	used := server.CLI(t, "INFO", "commandstats")
	for _, granted := range regexp.MustCompile(`\+([\w|]+)`).FindAllStringSubmatch(line, -1) {
		if !strings.Contains(used, "cmdstat_"+granted[1]+":") {
			t.Errorf("the line grants %s, which the store does not use", granted[1])
		}
	}
}

// runDoc runs a shell block of docs/redis.md and returns what it prints last.
func runDoc(t *testing.T, holds string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", redistest.DocBlock(t, "sh", holds))
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	lines := strings.Fields(string(out))
	return lines[len(lines)-1]
}

// TestRedisPage does with redis-cli only what docs/redis.md tells a login
// service to do.
func TestRedisPage(t *testing.T) {
	server, s := startRedis(t)
	url := "REDIS_URL=redis://" + server.Addr()
	server.CLI(t, strings.Fields(strings.ReplaceAll(
		redistest.DocBlock(t, "redis", "ACL SETUSER login "), "ACL SETUSER login reset on >PASSWORD", "ACL SETUSER login reset on nopass"))...)

	first := runDoc(t, "20 random bytes", url, "identity=alice")
	loginURL := "REDIS_URL=redis://login:any@" + server.Addr()
	second := runDoc(t, "20 random bytes", loginURL, "identity=alice")

	credential := regexp.MustCompile(`^ory_st_[a-z2-7]{32}$`)
	for _, c := range []string{first, second} {
		if !credential.MatchString(c) {
			t.Errorf("not a credential: %q", c)
		}
		rec := s.Read(t, session.KeyOf(c))
		var sess struct {
			Version   int       `json:"v"`
			ID        string    `json:"id"`
			Identity  string    `json:"identity"`
			IssuedAt  time.Time `json:"issued_at"`
			ExpiresAt time.Time `json:"expires_at"`
		}
		if err := json.Unmarshal(rec.Value, &sess); err != nil {
			t.Fatalf("%v: %s", err, rec.Value)
		}
		if sess.Version != 1 || sess.ID != session.KeyOf(c).ID() || sess.Identity != "alice" ||
			sess.ExpiresAt.Sub(sess.IssuedAt) != 24*time.Hour {
			t.Errorf("%+v, want the id %s", sess, session.KeyOf(c).ID())
		}
		if ttl := server.CLI(t, "TTL", "caddy-logout:session:{"+session.KeyOf(c).String()+"}"); len(ttl) != 5 {
			t.Errorf("the session lasts %s s, want a day", ttl)
		}
	}
	s.WantKeys(t, "alice", session.KeyOf(first), session.KeyOf(second))

	runDoc(t, "The tombstone; it must last", url, "identity=alice", "key="+session.KeyOf(first).String())
	if rec := s.Read(t, session.KeyOf(first)); rec.Value != nil || time.Since(rec.RevokedAt).Abs() > time.Minute {
		t.Errorf("after ending it by hand: %+v", rec)
	}
	if ttl := server.CLI(t, "TTL", "caddy-logout:revoked:{"+session.KeyOf(first).String()+"}"); len(ttl) != 5 {
		t.Errorf("the tombstone lasts %s s, want a day", ttl)
	}
	s.WantKeys(t, "alice", session.KeyOf(second))
}

// TestRedisLayout looks at what the store writes, as docs/redis.md has it.
func TestRedisLayout(t *testing.T) {
	server, s := startRedis(t)
	key, at := storetest.NewKey(), time.Now().UTC().Truncate(time.Millisecond)
	name := func(kind string) string { return "caddy-logout:" + kind + ":{" + key.String() + "}" }
	e := session.Entry{Identity: "alice", Value: []byte(`{"v":1}`), ExpiresAt: at.Add(time.Hour)}
	storetest.NoError(t, s.Create(t.Context(), key, e))
	storetest.NoError(t, s.Touch(t.Context(), key, at, at.Add(time.Minute)))
	storetest.NoError(t, s.PutError(t.Context(), "an-id", []byte("{}"), at.Add(10*time.Minute)))

	end := strconv.FormatInt(e.ExpiresAt.UnixMilli(), 10)
	score := strconv.FormatInt(e.ExpiresAt.Add(time.Second-1).Unix(), 10)
	want := func(want string, command ...string) {
		t.Helper()
		if got := server.CLI(t, command...); got != want {
			t.Errorf("%s: %q, want %q", strings.Join(command, " "), got, want)
		}
	}
	want(`{"v":1}`, "GET", name("session"))
	want(end, "PEXPIRETIME", name("session"))
	want(strconv.FormatInt(at.UnixMilli(), 10), "GET", name("used"))
	want(key.String()+"\n"+score, "ZRANGE", "caddy-logout:identity:alice", "0", "-1", "WITHSCORES")
	want(score, "EXPIRETIME", "caddy-logout:identity:alice")
	want("{}", "GET", "caddy-logout:error:an-id")
	want("4", "DBSIZE")

	// The index lasts as long as its last entry: extended, never shortened.
	for last, index := range map[time.Duration]time.Duration{time.Minute: time.Hour, 2 * time.Hour: 2 * time.Hour} {
		e.ExpiresAt = at.Add(last)
		storetest.NoError(t, s.Create(t.Context(), storetest.NewKey(), e))
		want(strconv.FormatInt(at.Add(max(index, time.Hour)).Add(time.Second-1).Unix(), 10),
			"EXPIRETIME", "caddy-logout:identity:alice")
		server.CLI(t, "ZREMRANGEBYRANK", "caddy-logout:identity:alice", "1", "-1")
		server.CLI(t, "EXPIREAT", "caddy-logout:identity:alice", score)
	}

	// Expired entries are removed when the next is made, and so are revoked
	// ones.
	server.CLI(t, "ZADD", "caddy-logout:identity:alice", "1", "long-gone")
	storetest.NoError(t, s.Create(t.Context(), storetest.NewKey(), e))
	if members := server.CLI(t, "ZRANGE", "caddy-logout:identity:alice", "0", "-1"); strings.Contains(members, "long-gone") {
		t.Errorf("an expired entry is left: %s", members)
	}
	ended, err := s.Revoke(t.Context(), key, "alice", at, at.Add(time.Hour))
	storetest.NoError(t, err)
	if !ended {
		t.Error("ended is false")
	}
	want(`{"v":1,"revoked_at":"`+at.Format("2006-01-02T15:04:05.000Z")+`"}`, "GET", name("revoked"))
	want("0", "EXISTS", name("session"), name("used"))
}

// TestRedisWriteBack writes a session back after it was revoked, as an app's
// request in flight does.
func TestRedisWriteBack(t *testing.T) {
	server, s := startRedis(t)
	key, at := s.Make(t, "alice"), s.Now()
	_, err := s.Revoke(t.Context(), key, "alice", at, at.Add(time.Hour))
	storetest.NoError(t, err)
	server.CLI(t, "SET", "caddy-logout:session:{"+key.String()+"}", "back again")
	s.WantRecord(t, key, session.Record{Value: []byte("back again"), RevokedAt: at})
	if err := s.Create(t.Context(), key, s.NewEntry("alice")); !errors.Is(err, session.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	ended, err := s.Revoke(t.Context(), key, "alice", at.Add(time.Minute), at.Add(time.Hour))
	storetest.NoError(t, err)
	if !ended {
		t.Error("revoking what came back did not end it")
	}
	s.WantRecord(t, key, session.Record{RevokedAt: at})
}

// TestRedisTombstoneBetween writes a tombstone where only a race can: between
// the store's look at it and its SET.
func TestRedisTombstoneBetween(t *testing.T) {
	server, s := startRedis(t)
	key := storetest.NewKey()
	store := s.Store.(*Store)
	store.client.AddHook(redistest.BeforeSet(func() {
		server.CLI(t, "SET", "caddy-logout:revoked:{"+key.String()+"}", "by hand", "EX", "600")
	}))
	if err := s.Create(t.Context(), key, s.NewEntry("alice")); !errors.Is(err, session.ErrExists) {
		t.Errorf("%v, want ErrExists", err)
	}
	s.WantRecord(t, key, session.Record{RevokedAt: time.Unix(0, 0)})
	s.WantKeys(t, "alice")
}

// TestRedisIndexFails creates a session whose index cannot be written: none may
// come to life.
func TestRedisIndexFails(t *testing.T) {
	server, s := startRedis(t)
	server.CLI(t, "SET", "caddy-logout:identity:alice", "not a set")
	key := storetest.NewKey()
	err := s.Create(t.Context(), key, s.NewEntry("alice"))
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if want := "redis: create: session store unavailable: the server answered WRONGTYPE"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	s.WantRecord(t, key, session.Record{})
}

// TestRedisIndexBroken ends a session whose index cannot be written: it is
// revoked all the same.
func TestRedisIndexBroken(t *testing.T) {
	server, s := startRedis(t)
	key, at := s.Make(t, "alice"), s.Now()
	server.CLI(t, "SET", "caddy-logout:identity:alice", "not a set")
	ended, err := s.Revoke(t.Context(), key, "alice", at, at.Add(time.Hour))
	storetest.NoError(t, err)
	if !ended {
		t.Error("ended is false")
	}
	s.WantRecord(t, key, session.Record{RevokedAt: at})
}

// TestRedisForeignValues reads what others have put there.
func TestRedisForeignValues(t *testing.T) {
	server, s := startRedis(t)
	key := storetest.NewKey()
	name := func(kind string) string { return "caddy-logout:" + kind + ":{" + key.String() + "}" }
	for _, tombstone := range []string{
		"", "1", "{}", `{"v":1,"revoked_at":"tomorrow"}`, `{"v":1,"revoked_at":"0001-01-01T00:00:00Z"}`,
	} {
		server.CLI(t, "SET", name("revoked"), tombstone)
		s.WantRecord(t, key, session.Record{RevokedAt: time.Unix(0, 0)})
	}
	server.CLI(t, "DEL", name("revoked"))
	server.CLI(t, "SET", name("used"), "yesterday")
	server.CLI(t, "ZADD", "caddy-logout:identity:alice", "9999999999", "no key", "9999999999", key.String())
	s.WantRecord(t, key, session.Record{})
	s.WantKeys(t, "alice", key)

	server.CLI(t, "DEL", name("used"))
	for _, kind := range []string{"session", "revoked", "used"} {
		server.CLI(t, "RPUSH", name(kind), "a list")
		if _, err := s.GetWithUse(t.Context(), key); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("a list under %s: %v, want ErrUnavailable", kind, err)
		}
		server.CLI(t, "DEL", name(kind))
	}
}
