package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// reloadWarning is a line of the log about a change.
type reloadWarning struct {
	Level  string `json:"level"`
	Logger string `json:"logger"`
	Msg    string `json:"msg"`
	Option string `json:"option"`
	Was    string `json:"was"`
	Is     string `json:"is"`
	Effect string `json:"effect"`
}

// reloadWarnings returns what Caddy has warned of so far, by option.
func reloadWarnings(t *testing.T, s *caddyServer) []reloadWarning {
	t.Helper()
	var found []reloadWarning
	for line := range strings.Lines(s.Logs()) {
		var w reloadWarning
		if json.Unmarshal([]byte(line), &w) == nil && w.Msg == "reload affects existing sessions" {
			found = append(found, w)
		}
	}
	return found
}

func TestReloadWarnsOfChanges(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.CLI(t, "ACL", "SETUSER", "caddy", "on", ">the-first-one", ">the-second-one", "~*", "+@all")
	store := func(password, more string) string {
		return "store redis " + redis.Addr() + " {\n username caddy\n password " + password + "\n" + more + "}\n"
	}
	s := startWith(t, store("the-first-one", ""))
	told, loads := 0, 0
	reload := func(name, config string, want ...reloadWarning) {
		t.Helper()
		if loads == 0 || len(want) > 1 {
			if err := s.tryReload(config); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		} else {
			s.Reload(config) // what the command does, and sooner
		}
		loads++
		// What Caddy writes takes a moment to get here; this comes after all else.
		eventually(t, "the end of the reload in the log", func() bool {
			return strings.Count(s.Logs(), `"msg":"load complete"`) == loads
		})
		all := reloadWarnings(t, s)
		fresh := all[told:]
		told = len(all)
		if len(fresh) != len(want) {
			t.Fatalf("%s: %d warnings, want %d: %+v", name, len(fresh), len(want), fresh)
		}
		for i, w := range fresh {
			if w.Level != "warn" || w.Logger != "sessions" || w.Effect == "" ||
				w.Option != want[i].Option || w.Was != want[i].Was || w.Is != want[i].Is {
				t.Errorf("%s: %+v, want %+v", name, w, want[i])
			}
		}
	}

	reload("nothing", caddyfile(store("the-first-one", "")))
	reload("the password", caddyfile(store("the-second-one", "")))
	reload("the site", caddyfile(store("the-second-one", ""), "header X-Something else"))
	reload("the lifespan", caddyfile(store("the-second-one", "")+"\n\t\tlifespan 1h"))
	reload("cookie and database", caddyfile(store("the-second-one", "db 3\n")+"\n\t\tlifespan 1h\n\t\tcookie other {\n path /app\n}"),
		reloadWarning{Option: "cookie", Was: cookieName, Is: "other"},
		reloadWarning{Option: "cookie path", Was: "/", Is: "/app"},
		reloadWarning{Option: "store db", Was: "0", Is: "3"})
	reload("the same again", caddyfile(store("the-second-one", "db 3\n")+"\n\t\tlifespan 1h\n\t\tcookie other {\n path /app\n}"))

	accounts := filepath.Join(s.dir, "accounts.txt")
	all, err := os.ReadFile(accounts)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, _ := strings.Cut(string(all), "other@example.test")
	writeFile(t, accounts, kept)
	reload("an account", caddyfile(store("the-second-one", "db 3\n")+"\n\t\tlifespan 1h\n\t\tcookie other {\n path /app\n}"),
		reloadWarning{Option: "login accounts", Was: "2", Is: "1"})

	for _, secret := range []string{"the-first-one", "the-second-one", password, hashed()} {
		if strings.Contains(s.Logs(), secret) {
			t.Error("the log shows a secret")
		}
	}
}
