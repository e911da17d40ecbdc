package integration_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// issued is what the admin endpoint and the command answer.
type issued struct {
	Token   string `json:"session_token"`
	Session struct {
		ExpiresAt time.Time `json:"expires_at"`
		Identity  struct {
			ID     string          `json:"id"`
			Traits json.RawMessage `json:"traits"`
		} `json:"identity"`
	} `json:"session"`
}

// wantIssued checks an answer, and that its token opens the gate.
func wantIssued(t *testing.T, s *caddyServer, answer string) issued {
	t.Helper()
	var got issued
	decode(t, answer, &got)
	left := time.Until(got.Session.ExpiresAt)
	if got.Session.Identity.ID != "alice" || string(got.Session.Identity.Traits) == "{}" || left > time.Hour || left < 50*time.Minute {
		t.Errorf("session %+v", got.Session)
	}
	if a := call(t, "GET", s.URL("/app/"), "", "Authorization: Bearer "+got.Token); a.status != 200 || a.body != "user alice" {
		t.Errorf("with the token: %d %q", a.status, a.body)
	}
	return got
}

func TestIssueByAdmin(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		a := call(t, "POST", s.AdminURL("/sessions"), `{"identity":"alice","traits":{"email":"alice@example.test"},"lifespan":"1h"}`,
			"Content-Type: application/json")
		if a.status != 201 || !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
			t.Fatalf("answer %d %q", a.status, a.body)
		}
		token := wantIssued(t, s, a.body).Token
		if strings.Contains(s.Logs(), token) {
			t.Error("the token is in the log")
		}
		for body, want := range map[string]string{
			`{}`:                                    "identity",
			`{"identity":""}`:                       "identity",
			`{"identity":"alice","lifespan":"-1h"}`: "lifespan",
			`{"identity":"alice","lifespan":"x"}`:   "lifespan",
			`{"identity":"alice","traits":[]}`:      "traits",
			`{"identity":"alice","name":"x"}`:       "name",
			`{"identity":`:                          "body",
			`x`:                                     "body",
		} {
			if a := call(t, "POST", s.AdminURL("/sessions"), body); a.status != 400 || !strings.Contains(a.body, want) {
				t.Errorf("%s: %d %q, want 400 about %s", body, a.status, a.body, want)
			}
		}
		if a := call(t, "PUT", s.AdminURL("/sessions"), `{}`); a.status != 405 || a.header.Get("Allow") == "" {
			t.Errorf("PUT: %d, Allow %q", a.status, a.header.Get("Allow"))
		}
	})
}

func TestIssueByCommand(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	issue := func(args ...string) (string, error) {
		out, err := s.command(append([]string{"sessions", "issue", "--address", "127.0.0.1:" + s.admin}, args...)...).Output()
		return string(out), err
	}
	out, err := issue("--identity", "alice", "--traits", `{"email":"alice@example.test"}`, "--lifespan", "1h")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wantIssued(t, s, out)
	for name, args := range map[string][]string{
		"no identity":      {},
		"traits no object": {"--identity", "alice", "--traits", "[]"},
		"traits no JSON":   {"--identity", "alice", "--traits", "{"},
		"lifespan":         {"--identity", "alice", "--lifespan", "soon"},
		"unknown flag":     {"--identity", "alice", "--nope"},
	} {
		if out, err := issue(args...); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// A login service in any language follows docs/redis.md. This one is bash.
func TestIssueByRedisCLI(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startWith(t, patientRedis(redis))
	page, err := os.ReadFile("../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## Create a session from a login service\n.*?```sh\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/redis.md has no script")
	}
	script := exec.CommandContext(t.Context(), "bash", "-c", string(block[1]))
	script.Env = append(os.Environ(), "REDIS_URL=redis://"+redis.Addr(), "identity=carol")
	out, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(out))
	if a := call(t, "GET", s.URL("/app/"), "", "Cookie: ory_kratos_session="+token); a.status != 200 || a.body != "user carol" {
		t.Fatalf("with its cookie: %d %q", a.status, a.body)
	}
	if a := call(t, "DELETE", s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != 204 {
		t.Errorf("logout: %d", a.status)
	}
	if a := call(t, "GET", s.URL("/app/"), "", "Cookie: ory_kratos_session="+token, "Accept: application/json"); a.status != 401 {
		t.Errorf("after the logout: %d", a.status)
	}
}
