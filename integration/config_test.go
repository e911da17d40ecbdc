package integration_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestWrongCaddyfiles(t *testing.T) {
	t.Parallel()
	s := prepare(t, serverOptions{}) // for the environment of its commands
	global := func(lines ...string) string {
		return "{\n\tsessions {\n\t\t" + strings.Join(lines, "\n\t\t") + "\n\t}\n}\n:8080\n"
	}
	site := func(lines ...string) string { return ":8080 {\n\t" + strings.Join(lines, "\n\t") + "\n}\n" }
	for _, test := range []struct{ name, caddyfile, want, line string }{
		{"sessions, unknown option", global("shop redis"), `unknown option "shop" of sessions`, "3"},
		{"sessions, option twice", global("lifespan 1h", "lifespan 2h"), "lifespan is given twice", "4"},
		{"sessions, twice", "{\n\tsessions {\n\t}\n\tsessions {\n\t}\n}\n:8080\n", "sessions is configured twice", "4"},
		{"sessions, argument", "{\n\tsessions on\n}\n:8080\n", "wrong argument count", "2"},
		{"lifespan, no duration", global("lifespan soon"), `lifespan: "soon" is not a duration`, "3"},
		{"lifespan, negative", global("lifespan -1h"), `lifespan: "-1h" is not a duration`, "3"},
		{"lifespan, no unit", global("lifespan 24"), `lifespan: "24" is not a duration`, "3"},
		{"lifespan, nothing", global("lifespan"), "wrong argument count", "3"},
		{"idle_timeout, zero", global("idle_timeout 0s"), `idle_timeout: "0s" is not a duration`, "3"},
		{"base_url, no host", global("base_url app.example.com"), "base_url: want scheme and host alone", "3"},
		{"base_url, path", global("base_url https://app.example.com/x"), "base_url: want scheme and host alone", "3"},
		{"prefix, no slash", global("prefix ory"), "prefix: want a path like /.ory", "3"},
		{"prefix, slash at the end", global("prefix /ory/"), "prefix: want a path like /.ory", "3"},
		{"error_ui, scheme", global("error_ui javascript:alert(1)"), "error_ui: want a path or an http(s) URL", "3"},
		{"default_return_url, scheme", global("default_return_url javascript:alert(1)"), "default_return_url", "3"},
		{"allowed_return_urls, public suffix", global("allowed_return_urls https://*.co.uk"), "allowed_return_urls: ", "3"},
		{"allowed_return_urls, no scheme", global("allowed_return_urls app.example.com"), "allowed_return_urls: ", "3"},
		{"allowed_return_urls, nothing", global("allowed_return_urls"), "wrong argument count", "3"},
		{"cookie, __Host- with a domain", global("cookie __Host-id {", "domain example.com", "}"), "a __Host- cookie has no domain", "5"},
		{"cookie, __Secure- not secure", global("cookie __Secure-id {", "secure off", "}"), "a __Secure- cookie is secure", "5"},
		{"cookie, none not secure", global("cookie {", "same_site none", "secure off", "}"), "same_site: none needs Secure", "6"},
		{"cookie, same_site", global("cookie {", "same_site some", "}"), "same_site: want lax, strict or none", "5"},
		{"cookie, switch", global("cookie {", "secure maybe", "}"), `secure: want on or off, not "maybe"`, "4"},
		{"cookie, unknown option", global("cookie {", "http_only off", "}"), `unknown option "http_only" of cookie`, "4"},
		{"store, none", global("store"), "store: want redis or embedded", "3"},
		{"store, unknown", global("store memory"), "want redis or embedded", "3"},
		{"store embedded, unknown option", global("store embedded {", "sync off", "}"), `unknown option "sync" of the embedded store`, "4"},
		{"store redis, unknown option", global("store redis {", "colour red", "}"), `unknown option "colour" of the redis store`, "4"},
		{"store redis, timeout", global("store redis {", "read_timeout fast", "}"), "read_timeout: want a duration", "4"},
		{"store redis, db", global("store redis {", "db first", "}"), "db: want a whole number", "4"},
		{"store redis, address twice", global("store redis 127.0.0.1:1 {", "address 127.0.0.1:2", "}"), "address", "4"},
		{"logout, unknown option", site("logout {", "api off", "}"), `unknown option "api" of logout`, "3"},
		{"logout, switch", site("logout {", "sessions_api no", "}"), `sessions_api: want on or off, not "no"`, "3"},
		{"login, unknown option", site("login {", "users a.txt", "}"), `unknown option "users"`, "3"},
		{"session_auth, unknown option", site("session_auth {", "require all", "}"), `unknown option "require" of session_auth`, "3"},
		{"session_auth, contradiction", site("session_auth {", "optional", "login_url /login", "}"), "optional and login_url contradict each other", "5"},
		{"session_auth, header twice", site("session_auth {", "header X-User a", "header x-user b", "}"), "X-User is configured twice", "4"},
		{"session_auth, header of a proxy", site("session_auth {", "header Connection a", "}"), "Connection cannot be used here", "3"},
		{"session_auth, header without a value", site("session_auth {", "header X-User", "}"), "header: want a name and a value", "3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			writeFile(t, s.configFile(), test.caddyfile)
			cmd := s.command("adapt", "--config", s.configFile(), "--adapter", "caddyfile")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("want exit code 1, got %v:\n%s", err, out)
			}
			message := lastMessage(t, string(out))
			if !strings.Contains(message, test.want) {
				t.Errorf("want %q in %q", test.want, message)
			}
			if where := ", at " + s.configFile() + ":" + test.line; !strings.HasSuffix(message, where) {
				t.Errorf("want %q to end with %q", message, where)
			}
		})
	}
}

// lastMessage returns the message of the last line that Caddy logged.
func lastMessage(t *testing.T, out string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var line struct {
		Message string `json:"msg"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatalf("not a log line: %v\n%s", err, out)
	}
	return line.Message
}

// TestStartRefusesWhatItCannotRead starts Caddy on configurations that are well
// written but do not fit the machine: each ends at once, and names the reason.
func TestStartRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	login := func(accounts string) string {
		return "http://:{$PORT} {\n\tbind 127.0.0.1\n\tlogin {\n\t\taccounts " + accounts + "\n\t}\n}\n"
	}
	global := func(lines ...string) string {
		return "{\n\tsessions {\n\t\t" + strings.Join(lines, "\n\t\t") + "\n\t}\n}\nhttp://:{$PORT} {\n\tbind 127.0.0.1\n\tlogout\n}\n"
	}
	for _, test := range []struct {
		name, caddyfile string
		files           map[string]string
		want            []string
	}{
		{"no accounts file", login("{$DIR}/missing.txt"), nil, []string{"accounts", "missing.txt", "no such file"}},
		{"accounts file a folder", login("{$DIR}"), nil, []string{"accounts"}},
		{
			"accounts file with a bad line", login("{$DIR}/accounts.txt"),
			map[string]string{"accounts.txt": accountsFile() + "eve:plain-text-password\n"},
			[]string{"accounts.txt:4: "},
		},
		{
			"accounts file with a name twice", login("{$DIR}/accounts.txt"),
			map[string]string{"accounts.txt": accountsFile() + accountsFile()},
			[]string{"accounts.txt:5: the name is taken"},
		},
		{
			"store in a file that is none", global("store embedded {$DIR}/no-sessions.db"),
			map[string]string{"no-sessions.db": strings.Repeat("not a store\n", 1000)},
			[]string{"no-sessions.db"},
		},
		{"password that is not set", global("store redis 127.0.0.1:1 {", "password {env.NO_SUCH_PASSWORD}", "}"), nil, []string{"NO_SUCH_PASSWORD"}},
		{"URL that is not set", global("base_url {env.NO_SUCH_URL}"), nil, []string{"base_url", "NO_SUCH_URL"}},
		{"idle longer than life", global("lifespan 1h", "idle_timeout 2h"), nil, []string{"idle_timeout is longer than lifespan"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := prepare(t, serverOptions{caddyfile: test.caddyfile, files: test.files})
			cmd := s.command("run", "--config", s.configFile(), "--adapter", "caddyfile")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("caddy served")
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("want %q in:\n%s", want, out)
				}
			}
			if strings.Contains(string(out), "plain-text-password") || strings.Contains(string(out), hashed()) {
				t.Errorf("the error shows a secret:\n%s", out)
			}
		})
	}
}
