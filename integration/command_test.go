package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// ran is what a command came to.
type ran struct {
	code        int
	out, errors string
}

// sessions runs caddy sessions with arguments; {admin} stands for the address.
func (s *caddyServer) sessions(args ...string) ran {
	s.t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{admin}", "127.0.0.1:"+s.admin)
	}
	cmd := s.command(append([]string{"sessions"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return ran{0, stdout.String(), stderr.String()}
	case isExit:
		return ran{exit.ExitCode(), stdout.String(), stderr.String()}
	}
	s.t.Fatal(err)
	return ran{}
}

// wantRan runs a command and compares its exit code and what it prints.
func (s *caddyServer) wantRan(code int, want string, args ...string) ran {
	s.t.Helper()
	got := s.sessions(args...)
	if got.code != code || !strings.Contains(got.out+got.errors, want) {
		s.t.Errorf("caddy sessions %s: exit code %d, want %d and %q in\n%s%s", strings.Join(args, " "), got.code, code, want, got.out, got.errors)
	}
	return got
}

const (
	exitOK = iota
	exitFailed
	_
	_
	exitNotFound
	exitUnavailable
	exitRefused
)

func TestCommands(t *testing.T) {
	t.Parallel()
	onBothPatiently(t, func(t *testing.T, store string) {
		s := startWith(t, store)
		admin := []string{"--address", "{admin}", "--identity", "alice"}
		with := func(args ...string) []string { return append(args, admin...) }
		first, id := issueFor(t, s, "alice")
		second, otherID := issueFor(t, s, "alice")
		bob, _ := issueFor(t, s, "bob")

		table := s.wantRan(exitOK, id, with("list")...)
		if !strings.Contains(table.out, otherID) || strings.Count(table.out, "\n") != 3 || !strings.HasPrefix(table.out, "SESSION ") {
			t.Errorf("list:\n%s", table.out)
		}
		var list struct {
			Sessions []struct {
				ID string `json:"id"`
			} `json:"sessions"`
		}
		if decode(t, s.wantRan(exitOK, id, with("list", "--json")...).out, &list); len(list.Sessions) != 2 {
			t.Errorf("list as JSON: %+v", list)
		}
		s.wantRan(exitOK, "identity       alice\n", with("show", id[:8])...)
		var one struct {
			ID string `json:"id"`
		}
		if decode(t, s.wantRan(exitOK, "", with("show", id, "--json")...).out, &one); one.ID != id {
			t.Errorf("show as JSON: %+v", one)
		}
		s.wantRan(exitOK, "1 sessions ended\n", with("revoke", id)...)
		if opens(t, s, first) != 401 || opens(t, s, second) != 200 {
			t.Error("revoke did not end one session and no other")
		}
		s.wantRan(exitNotFound, "no live session", with("revoke", id)...)
		s.wantRan(exitNotFound, "no live session", with("show", id)...)
		s.wantRan(exitOK, `"count": 1`, with("revoke", "--json")...)
		if opens(t, s, second) != 401 || opens(t, s, bob) != 200 {
			t.Error("revoke did not end the sessions of one person and no other")
		}
		if got := s.wantRan(exitOK, "no live sessions", with("list")...); got.out != "" {
			t.Errorf("a table of nothing: %q", got.out)
		}
		s.wantRan(exitRefused, "--yes", "revoke", "--all", "--address", "{admin}")
		if opens(t, s, bob) != 200 {
			t.Error("revoke --all did not wait for --yes")
		}
		s.wantRan(exitOK, "1 sessions ended\n", "revoke", "--all", "--yes", "--address", "{admin}")
		if opens(t, s, bob) != 401 {
			t.Error("revoke --all did not end all sessions")
		}
	})
}

func TestCommandExitCodes(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startWith(t, patientRedis(redis))
	_, id := issueFor(t, s, "alice")
	// The address may come from a configuration.
	s.wantRan(exitOK, id, "list", "--identity", "alice", "--config", s.configFile(), "--adapter", "caddyfile")
	s.wantRan(exitFailed, "identity", "list", "--address", "{admin}")
	s.wantRan(exitFailed, "nope", "list", "--identity", "alice", "--nope")
	s.wantRan(exitFailed, "identity", "revoke", "--address", "{admin}")
	s.wantRan(exitFailed, "takes no session", "revoke", id, "--all", "--yes", "--address", "{admin}")
	s.wantRan(exitFailed, "not an address", "list", "--identity", "alice", "--address", "127.0.0.1:1-9")
	s.wantRan(exitRefused, "id of a session", "show", "x", "--identity", "alice", "--address", "{admin}")
	s.wantRan(exitUnavailable, "is Caddy running there?", "list", "--identity", "alice", "--address", "127.0.0.1:"+freePort(t))
	s.wantRan(exitOK, "0 blocks lifted\n", "unblock", "--account", "wire@example.test", "--address", "{admin}")
	s.wantRan(exitRefused, "IP address", "unblock", "--client", "x", "--address", "{admin}")
	redis.Pause(t)
	s.wantRan(exitUnavailable, "session store cannot be asked", "list", "--identity", "alice", "--address", "{admin}")
	s.wantRan(exitUnavailable, "session store cannot be asked", "revoke", "--all", "--yes", "--address", "{admin}")
	redis.Resume(t)
	eventually(t, "an answer of Redis", func() bool { return call(t, "GET", s.AdminURL("/sessions/readiness"), "").status == 200 })
	s.wantRan(exitOK, id, "list", "--identity", "alice", "--address", "{admin}")
}

// TestCommandCompletion asks as a shell does.
func TestCommandCompletion(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	_, id := issueFor(t, s, "alice")
	for _, tt := range []struct{ line, want string }{
		{"sessions rev", "revoke"},
		{"sessions list --ad", "--address"},
		{"sessions list --adapter ", "caddyfile"},
		{"sessions show --identity alice --address 127.0.0.1:" + s.admin + " ", id},
		{"sessions check --header ", "Accept: application/json"},
	} {
		out, err := s.command(append([]string{"__complete"}, strings.Split(tt.line, " ")...)...).Output()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%q: %v, want %q in\n%s", tt.line, err, tt.want, out)
		}
	}
}

// checkCaddyfile has each kind of route. Nothing that it names is there.
const checkCaddyfile = `{
	admin off
	sessions {
		store redis 127.0.0.1:1
		prefix /.ory
		default_return_url https://www.example.com/goodbye
		allowed_return_urls https://docs.example.com https://*.example.org/app
	}
	log {
		output file {$DIR}/must-not-be-there.log
	}
}
app.example.com {
	logout /signout {
		query /index.php action=logout
		sessions_page /account/sessions
	}
	login {
		accounts {$DIR}/accounts.txt
	}
	handle /public/* {
		reverse_proxy 127.0.0.1:9
	}
	handle_path /api/* {
		session_auth
		rewrite /v1{uri}
		reverse_proxy 127.0.0.1:9
	}
	handle {
		@here path /here /v1/*
		session_auth @here {
			login_url /.ory/self-service/login/browser
		}
		@in session
		respond @in "hello"
		reverse_proxy 127.0.0.1:9
	}
}
http://plain.example.com:8080 {
	logout
	session_auth {
		optional
	}
	respond "anybody"
}
`

// checkAnswer is what caddy sessions check prints as JSON.
type checkAnswer struct {
	Routes []struct {
		Server, Directive, Verdict string
		Match, Paths, Gates        []string
	} `json:"routes"`
	Requests []struct {
		Request, Verdict string
		WithoutSession   checkOutcome `json:"without_session"`
		WithSession      checkOutcome `json:"with_session"`
	} `json:"requests"`
	ReturnTo []struct {
		URL, Base, Rule, Location string
		Accepted                  bool
	} `json:"return_to"`
}

type checkOutcome struct {
	By       string   `json:"by"`
	Status   int      `json:"status"`
	Location string   `json:"location"`
	Passed   []string `json:"passed"`
}

// checked runs check on the Caddyfile above.
func checked(t *testing.T, code int, args ...string) checkAnswer {
	t.Helper()
	s := prepare(t, serverOptions{caddyfile: checkCaddyfile, files: map[string]string{"accounts.txt": accountsFile()}})
	args = append([]string{"check", "--json", "--config", s.configFile(), "--adapter", "caddyfile"}, args...)
	got := s.wantRan(code, "", args...)
	var answer checkAnswer
	if err := json.Unmarshal([]byte(got.out), &answer); err != nil {
		t.Fatalf("%v in %q %s", err, got.out, got.errors)
	}
	if _, err := exec.Command("test", "-e", s.dir+"/must-not-be-there.log").Output(); err == nil {
		t.Error("check opened a log file")
	}
	return answer
}

func TestCheckRoutes(t *testing.T) {
	t.Parallel()
	const app = "host app.example.com"
	type line struct{ directive, match, verdict, gates, paths string }
	var got []line
	for _, route := range checked(t, exitOK).Routes {
		got = append(got, line{
			route.Directive, strings.Join(route.Match, ", "), route.Verdict,
			strings.Join(route.Gates, "; "), strings.Join(route.Paths, " "),
		})
	}
	want := []line{
		{"logout", app, "intercepted", "", "/.ory/self-service/logout/browser /.ory/self-service/logout /.ory/self-service/logout/api " +
			"/.ory/self-service/logout/done /.ory/self-service/errors /.ory/sessions/whoami /.ory/sessions /.ory/sessions/{id} " +
			"/account/sessions /signout /index.php?action=logout"},
		{"login", app, "intercepted", "", "/.ory/self-service/login/browser /.ory/self-service/login/api " +
			"/.ory/self-service/login/flows /.ory/self-service/login /.ory/self-service/errors"},
		{"reverse_proxy", app + ", path /public/*", "open", "", ""},
		{"session_auth", app + ", path /api/*", "gated", "", ""},
		{"reverse_proxy", app + ", path /api/*", "gated", "", ""},
		{"session_auth", app + ", path /here /v1/*", "gated", "", ""},
		{"static_response", app + ", session", "gated", "", ""},
		{"reverse_proxy", app, "open", "path /here /v1/*", ""},
	}
	for _, l := range want {
		found := false
		for _, g := range got {
			found = found || g == l
		}
		if !found {
			t.Errorf("no line %+v", l)
		}
	}
	optional := false
	for _, g := range got {
		optional = optional || g.directive == "session_auth" && g.match == "host plain.example.com" && g.verdict == "open"
	}
	if !optional || len(got) != len(want)+3 {
		t.Errorf("optional gate %v, %d lines:", optional, len(got))
	}
	if t.Failed() {
		for _, g := range got {
			t.Logf("%+v", g)
		}
	}
}

func TestCheckRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		request, verdict, by string
		status               int
		location             string // a pattern
		with                 string // by whom, with a session
		withStatus           int
	}{
		{"GET https://app.example.com/public/x", "open", "reverse_proxy", 0, "", "reverse_proxy", 0},
		{"GET https://app.example.com/api/x", "gated", "session_auth", 401, "", "reverse_proxy", 0},
		{"GET https://app.example.com/here", "gated", "session_auth", 303, `^/\.ory/self-service/login/browser\?return_to=https%3A%2F%2Fapp\.example\.com%2Fhere$`, "static_response", 200},
		{"GET https://app.example.com/other", "open", "reverse_proxy", 0, "", "static_response", 200},
		{"GET https://app.example.com/.ory/self-service/login/browser", "intercepted", "login", 303, `/\.ory/self-service/login\?flow=`, "login", 303},
		{"GET https://app.example.com/.ory/self-service/login/browser?return_to=https://evil.example", "intercepted", "login", 303, `/errors\?id=`, "login", 303},
		{"GET https://app.example.com/.ory/sessions/whoami", "intercepted", "logout", 401, "", "logout", 200},
		{"GET https://app.example.com/signout", "intercepted", "logout", 200, "", "logout", 200},
		{"POST https://app.example.com/index.php?action=logout", "intercepted", "logout", 303, "^https://www.example.com/goodbye$", "logout", 303},
		{"POST https://app.example.com/index.php?action=other", "open", "reverse_proxy", 0, "", "static_response", 200},
		{"http://app.example.com/x", "open", "static_response", 308, "^https://app.example.com/x$", "static_response", 308},
		{"http://plain.example.com:8080/", "open", "static_response", 200, "", "static_response", 200},
		{"CONNECT https://app.example.com/public/x", "refused", "logout", 501, "", "logout", 501},
		{"https://elsewhere.example/", "open", "", 200, "", "", 200},
	}
	args := []string{"--header", "User-Agent: a browser"}
	for _, tt := range tests {
		args = append(args, "--request", tt.request)
	}
	answer := checked(t, exitOK, args...)
	if len(answer.Requests) != len(tests) {
		t.Fatalf("%d answers, want %d", len(answer.Requests), len(tests))
	}
	for i, tt := range tests {
		got := answer.Requests[i]
		if got.Request != tt.request || got.Verdict != tt.verdict || got.WithoutSession.By != tt.by || got.WithoutSession.Status != tt.status ||
			got.WithSession.By != tt.with || got.WithSession.Status != tt.withStatus {
			t.Errorf("%s: %+v", tt.request, got)
		}
		if !regexp.MustCompile(tt.location).MatchString(got.WithoutSession.Location) {
			t.Errorf("%s: leads to %q, want %q", tt.request, got.WithoutSession.Location, tt.location)
		}
	}
	s := prepare(t, serverOptions{caddyfile: checkCaddyfile, files: map[string]string{"accounts.txt": accountsFile()}})
	config := []string{"--config", s.configFile(), "--adapter", "caddyfile"}
	s.wantRan(exitFailed, "nothing listens on port 4", append([]string{"check", "--request", "http://app.example.com:4/"}, config...)...)
	s.wantRan(exitFailed, "want a method and an http or https URL", append([]string{"check", "--request", "/x"}, config...)...)
	s.wantRan(exitFailed, "--header goes with --request", append([]string{"check", "--header", "A: b"}, config...)...)
	s.wantRan(exitFailed, "must-not-be-there", "check", "--config", s.dir+"/must-not-be-there")
}

func TestCheckReturnURLs(t *testing.T) {
	t.Parallel()
	const app = "https://app.example.com"
	tests := []struct {
		url      string
		accepted bool
		rule     string
	}{
		{"/account", true, "same scheme, host and port as the request"},
		{app + "/x", true, "same scheme, host and port as the request"},
		{"", true, "default_return_url, as none is asked for"},
		{"https://www.example.com/goodbye", true, "default_return_url"},
		{"https://www.example.com/other", false, "no entry of allowed_return_urls"},
		{"https://docs.example.com/x?y", true, "allowed_return_urls, entry 1: https://docs.example.com"},
		{"https://a.example.org/app/x", true, "allowed_return_urls, entry 2: https://*.example.org/app"},
		{"https://a.example.org/other", false, "no entry of allowed_return_urls"},
		{"http://docs.example.com/x", false, "no entry of allowed_return_urls"},
		{"javascript:alert(1)", false, "not an http or https URL"},
		{`https:/\docs.example.com`, false, "not an http or https URL"},
	}
	args := []string{"--request", app + "/"}
	for _, tt := range tests {
		args = append(args, "--return-to", tt.url)
	}
	answer := checked(t, exitRefused, args...)
	if len(answer.ReturnTo) != len(tests) {
		t.Fatalf("%d answers, want %d", len(answer.ReturnTo), len(tests))
	}
	for i, tt := range tests {
		got := answer.ReturnTo[i]
		if got.URL != tt.url || got.Base != app || got.Accepted != tt.accepted || !strings.Contains(got.Rule, tt.rule) || tt.accepted != (got.Location != "") {
			t.Errorf("%q: %+v", tt.url, got)
		}
	}
	// Without a request, on every site of the Caddyfile.
	answer = checked(t, exitOK, "--return-to", "/x")
	if len(answer.ReturnTo) != 2 || answer.ReturnTo[0].Base != "http://plain.example.com:8080" || answer.ReturnTo[1].Base != app {
		t.Errorf("sites: %+v", answer.ReturnTo)
	}
}
