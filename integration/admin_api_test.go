package integration_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// patientRedis is a store that waits longer than people do: on a machine that is
// busy with tests, a quarter of a second is soon over.
func patientRedis(r *redistest.Server) string {
	return "store redis " + r.Addr() + " {\n\t\t\ttimeout 2s\n\t\t\tdial_timeout 5s\n\t\t}"
}

// onBothPatiently is onBothStores with that one.
func onBothPatiently(t *testing.T, test func(t *testing.T, storeLine string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, embeddedStore)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, patientRedis(redistest.Start(t)))
	})
}

// issueFor makes a session by the admin endpoint and returns its token and id.
func issueFor(t testing.TB, s *caddyServer, identity string) (token, id string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"identity": identity})
	if err != nil {
		t.Fatal(err)
	}
	a := call(t, "POST", s.AdminURL("/sessions"), string(body))
	if a.status != 201 {
		t.Fatalf("issue: %d %s", a.status, a.body)
	}
	var got struct {
		Token   string `json:"session_token"`
		Session struct {
			ID string `json:"id"`
		} `json:"session"`
	}
	decode(t, a.body, &got)
	return got.Token, got.Session.ID
}

// opens returns the status that a token gets at the gate.
func opens(t testing.TB, s *caddyServer, token string) int {
	t.Helper()
	return call(t, "GET", s.URL("/app/"), "", acceptJSON, "Authorization: Bearer "+token).status
}

// listed returns the ids of all sessions of a person, and how many pages it took.
func listed(t testing.TB, s *caddyServer, identity string, pageSize int) (ids []string, pages int) {
	t.Helper()
	query := url.Values{"identity": {identity}, "page_size": {fmt.Sprint(pageSize)}}
	for {
		a := call(t, "GET", s.AdminURL("/sessions?"+query.Encode()), "")
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
			t.Fatalf("list: %d %q %s", a.status, a.header, a.body)
		}
		var page struct {
			Sessions []struct {
				ID       string `json:"id"`
				Identity struct {
					ID string `json:"id"`
				} `json:"identity"`
			} `json:"sessions"`
			Next string `json:"next_page_token"`
		}
		decode(t, a.body, &page)
		pages++
		if page.Sessions == nil || len(page.Sessions) > pageSize {
			t.Errorf("a page of %d: %s", pageSize, a.body)
		}
		for _, one := range page.Sessions {
			ids = append(ids, one.ID)
			if one.Identity.ID != identity {
				t.Errorf("a session of %q in the list of %q", one.Identity.ID, identity)
			}
		}
		if strings.Contains(a.body, "ory_st_") {
			t.Error("there is a credential in the list")
		}
		if page.Next == "" {
			return ids, pages
		}
		query.Set("page_token", page.Next)
	}
}

// wantAnswer asks the admin endpoint and compares.
func wantAnswer(t testing.TB, s *caddyServer, method, path string, status int, body string) answer {
	t.Helper()
	a := call(t, method, s.AdminURL(path), "")
	if a.status != status || !strings.Contains(a.body, body) {
		t.Errorf("%s %s: %d %q, want %d %q", method, path, a.status, a.body, status, body)
	}
	if !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
		t.Errorf("%s %s: a cache may keep it: %v", method, path, a.header)
	}
	return a
}

func TestAdminSessions(t *testing.T) {
	t.Parallel()
	onBothPatiently(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		const identity = "alice ä/?#&"
		of := "?identity=" + url.QueryEscape(identity)
		tokens := make(map[string]string)
		var ids []string
		for range 5 {
			token, id := issueFor(t, s, identity)
			tokens[id], ids = token, append(ids, id)
		}
		bob, bobID := issueFor(t, s, "bob")
		slices.Sort(ids)
		for _, size := range []int{1, 2, 5, 1000} {
			got, pages := listed(t, s, identity, size)
			slices.Sort(got)
			if !slices.Equal(got, ids) || pages != (5+size-1)/size {
				t.Errorf("pages of %d: %v in %d pages, want %v", size, got, pages, ids)
			}
		}
		if got, _ := listed(t, s, "nobody", 10); len(got) != 0 {
			t.Errorf("nobody has %v", got)
		}

		// One of them, by its id and by what logs show of it.
		one := ids[0]
		for _, handle := range []string{one, strings.ToUpper(one), one[:8]} {
			wantAnswer(t, s, "GET", "/sessions/"+handle+of, 200, `"id":"`+one+`"`)
		}
		for _, other := range []string{"/sessions/" + bobID + of, "/sessions/" + one + "?identity=bob"} {
			for _, method := range []string{"GET", "DELETE"} {
				a := wantAnswer(t, s, method, other, 404, "no live session")
				if a.header.Get("Ory-Error-Id") != "session_not_found" {
					t.Errorf("%s %s: %v", method, other, a.header)
				}
			}
		}
		wantAnswer(t, s, "DELETE", "/sessions/"+one+of, 200, `{"count":1}`)
		if got := opens(t, s, tokens[one]); got != 401 {
			t.Errorf("a session that was ended opens the gate: %d", got)
		}
		if got := opens(t, s, tokens[ids[1]]); got != 200 {
			t.Errorf("another session of the person: %d", got)
		}
		wantAnswer(t, s, "DELETE", "/sessions/"+one+of, 404, "no live session")
		wantAnswer(t, s, "GET", "/sessions/"+one+of, 404, "no live session")

		// All of a person, and nobody else's.
		wantAnswer(t, s, "DELETE", "/sessions"+of, 200, `{"count":4}`)
		wantAnswer(t, s, "DELETE", "/sessions"+of, 200, `{"count":0}`)
		for id, token := range tokens {
			if got := opens(t, s, token); got != 401 {
				t.Errorf("session %s opens the gate after all were ended: %d", id, got)
			}
		}
		if got := opens(t, s, bob); got != 200 {
			t.Errorf("somebody else's session: %d", got)
		}
		for _, token := range append([]string{bob}, tokens[one]) {
			if strings.Contains(s.Logs(), token) {
				t.Error("a token is in the log")
			}
		}
	})
}

func TestAdminRefuses(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	token, id := issueFor(t, s, "alice")
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/sessions", 400, "identity"},
		{"GET", "/sessions?identity=", 400, "identity"},
		{"GET", "/sessions?identity=" + strings.Repeat("a", 257), 400, "identity"},
		{"GET", "/sessions?identity=a&identity=b", 400, "twice"},
		{"GET", "/sessions?identity=alice&page_size=0", 400, "page_size"},
		{"GET", "/sessions?identity=alice&page_size=1001", 400, "page_size"},
		{"GET", "/sessions?identity=alice&page_token=x", 400, "page_token"},
		{"GET", "/sessions?identity=alice&page_token=bnVsbA", 400, "page_token"},
		{"GET", "/sessions?identity=alice&page=2", 400, "unknown parameter"},
		{"GET", "/sessions?identity=alice;x", 400, "query"},
		{"DELETE", "/sessions", 400, "identity"},
		{"DELETE", "/sessions?identity=", 400, "identity"},
		{"DELETE", "/sessions?all=", 400, "all"},
		{"DELETE", "/sessions?all=1", 400, "all"},
		{"DELETE", "/sessions?all=true&identity=alice", 400, "not both"},
		{"DELETE", "/sessions?al=true", 400, "unknown parameter"},
		{"GET", "/sessions/" + id, 400, "identity"},
		{"DELETE", "/sessions/" + id, 400, "identity"},
		{"DELETE", "/sessions/" + id + "?all=true", 400, "unknown parameter"},
		{"GET", "/sessions/x?identity=alice", 400, "id"},
		{"GET", "/sessions/" + token + "?identity=alice", 400, "id"},
		{"DELETE", "/sessions/blocks", 400, "account"},
		{"DELETE", "/sessions/blocks?address=x", 400, "address"},
		{"GET", "/sessions/a/b", 404, "no such path"},
		{"GET", "/sessions/", 404, "no such path"},
	} {
		a := wantAnswer(t, s, tt.method, tt.path, tt.status, tt.body)
		if strings.Contains(a.body, token) {
			t.Errorf("%s %s repeats the token", tt.method, tt.path)
		}
	}
	for path, allow := range map[string]string{
		"/sessions":            "DELETE, GET, HEAD, POST",
		"/sessions/" + id:      "DELETE, GET, HEAD",
		"/sessions/blocks":     "DELETE",
		"/sessions/statistics": "GET, HEAD",
		"/sessions/readiness":  "GET, HEAD",
		"/sessions/liveness":   "GET, HEAD",
	} {
		if a := wantAnswer(t, s, "PATCH", path, 405, "want "+allow); a.header.Get("Allow") != allow {
			t.Errorf("PATCH %s: Allow %q", path, a.header.Get("Allow"))
		}
	}
	if got := opens(t, s, token); got != 200 {
		t.Errorf("the session after all that: %d", got)
	}
}

// TestAdminRevokesEverybody signs out people on two servers, an open stream among
// them, and a session that is in no index.
func TestAdminRevokesEverybody(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	here, there := startWith(t, patientRedis(redis)), startWith(t, patientRedis(redis))
	var tokens []string
	for i := range 30 {
		token, _ := issueFor(t, here, fmt.Sprint("person ", i%10))
		tokens = append(tokens, token)
	}
	unlisted, _ := issueFor(t, here, "unlisted")
	redis.CLI(t, "DEL", "caddy-logout:identity:unlisted")
	tokens = append(tokens, unlisted)
	for _, token := range tokens { // so that both have them in memory
		if got := []int{opens(t, here, token), opens(t, there, token)}; !slices.Equal(got, []int{200, 200}) {
			t.Fatalf("before: %v", got)
		}
	}
	a := call(t, "DELETE", here.AdminURL("/sessions?all=true"), "", "Accept: application/x-ndjson")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.status != 200 || lines[len(lines)-1] != `{"count":31,"done":true}` {
		t.Fatalf("revoke all: %d %q", a.status, a.body)
	}
	for _, token := range tokens {
		if got := opens(t, here, token); got != 401 {
			t.Errorf("a session opens the gate here: %d", got)
		}
		eventually(t, "it is over on the other server", func() bool { return opens(t, there, token) == 401 })
	}
	wantAnswer(t, here, "DELETE", "/sessions?all=true", 200, `{"count":0}`)
	if token, _ := issueFor(t, here, "person 1"); opens(t, there, token) != 200 {
		t.Error("nobody can sign in again")
	}
}

// TestAdminOutage wants no empty list while Redis is unavailable.
func TestAdminOutage(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startWith(t, patientRedis(redis))
	token, id := issueFor(t, s, "alice")
	redis.Pause(t)
	for _, request := range []string{
		"GET /sessions?identity=alice",
		"GET /sessions/" + id + "?identity=alice",
		"DELETE /sessions/" + id + "?identity=alice",
		"DELETE /sessions?identity=alice",
		"DELETE /sessions?all=true",
	} {
		method, path, _ := strings.Cut(request, " ")
		a := wantAnswer(t, s, method, path, 503, "the session store cannot be asked")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", request)
		}
		if strings.Contains(a.body, token) || strings.Contains(a.body, "session:{") {
			t.Errorf("%s: %s", request, a.body)
		}
	}
	eventually(t, "the statistics say who is away", func() bool {
		a := call(t, "GET", s.AdminURL("/sessions/statistics"), "")
		return a.status == 200 && strings.Contains(a.body, `"ready":false`) && strings.Contains(a.body, `"server":"`+redis.Addr()+`"`)
	})
	redis.Resume(t)
	eventually(t, "the session is there again", func() bool { return opens(t, s, token) == 200 })
	eventually(t, "nobody is away", func() bool {
		return strings.Contains(call(t, "GET", s.AdminURL("/sessions/statistics"), "").body, `"away":[]`)
	})
}

func TestAdminLiftsBlocks(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	try := func(name, pass string) int {
		flow, _ := startLogin(t, s, "api")
		body, err := json.Marshal(map[string]string{"method": "password", "identifier": name, "password": pass})
		if err != nil {
			t.Fatal(err)
		}
		return call(t, "POST", flow.UI.Action, string(body), acceptJSON, sendsJSON).status
	}
	block := func() {
		for range 10 {
			if got := try(account, "wrong"); got != 400 {
				t.Fatalf("a wrong password: %d", got)
			}
		}
		if got := try(account, password); got != 429 {
			t.Fatalf("after ten failed tries: %d", got)
		}
	}
	block()
	wantAnswer(t, s, "DELETE", "/sessions/blocks?account=somebody@example.test", 200, `{"lifted":0}`)
	if got := try(account, password); got != 429 {
		t.Errorf("the block of another account was lifted: %d", got)
	}
	wantAnswer(t, s, "DELETE", "/sessions/blocks?account="+url.QueryEscape(account), 200, `{"lifted":1}`)
	if got := try(account, password); got != 200 {
		t.Errorf("the right password after the block was lifted: %d", got)
	}
}

func TestAdminStatistics(t *testing.T) {
	t.Parallel()
	onBothPatiently(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		issueFor(t, s, "alice")
		issueFor(t, s, "bob")
		var got struct {
			Store struct {
				Module string `json:"module"`
				Ready  bool   `json:"ready"`
				Away   []any  `json:"away"`
			} `json:"store"`
			NearCache *struct {
				Armed bool `json:"armed"`
			} `json:"near_cache"`
			Sessions       *int `json:"sessions"`
			OpenRequests   *int `json:"open_requests"`
			PendingLogouts *int `json:"pending_logouts"`
		}
		redis := store != embeddedStore
		eventually(t, "the near cache is used", func() bool {
			decode(t, wantAnswer(t, s, "GET", "/sessions/statistics", 200, "").body, &got)
			return got.Store.Ready && (!redis || got.NearCache != nil && got.NearCache.Armed)
		})
		if got.Store.Module != strings.Fields(store)[1] || !got.Store.Ready || got.Store.Away == nil ||
			got.OpenRequests == nil || got.PendingLogouts == nil || redis != (got.NearCache != nil) {
			t.Errorf("statistics %+v", got)
		}
		if redis != (got.Sessions == nil) || !redis && *got.Sessions != 2 {
			t.Errorf("sessions %v", got.Sessions)
		}
	})
}

// TestAdminWhileLoading asks again and again while configurations come and go.
func TestAdminWhileLoading(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	token, id := issueFor(t, s, "alice")
	deadline := time.Now().Add(startTimeout)
	for i := range 5 {
		s.Reload(caddyfile(embeddedStore, fmt.Sprintf("# %d", i)))
		wantAnswer(t, s, "GET", "/sessions/"+id+"?identity=alice", 200, id)
		if time.Now().After(deadline) {
			t.Fatal("too slow")
		}
	}
	s.Reload("{\n}\n:" + s.port + " {\n\trespond ok\n}\n")
	a := wantAnswer(t, s, "GET", "/sessions?identity=alice", 404, "no sessions")
	if a.header.Get("Ory-Error-Id") != "" {
		t.Error("that there are no sessions at all looks as if there was none of that id")
	}
	wantAnswer(t, s, "GET", "/sessions/liveness", 200, "alive")
	s.Reload(caddyfile(embeddedStore))
	if got := opens(t, s, token); got != 200 {
		t.Errorf("the session after all reloads: %d", got)
	}
}
