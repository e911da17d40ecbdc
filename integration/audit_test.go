package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	caddyfiletokens "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

func init() { caddy.RegisterModule(new(recorder)) }

// recorder is an event handler of the Caddy under test: it writes each event as a
// line of JSON into a file, and tries to abort what the event tells of.
type recorder struct {
	File string `json:"file"`

	mu sync.Mutex
}

func (*recorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.record", New: func() caddy.Module { return new(recorder) }}
}

func (r *recorder) UnmarshalCaddyfile(d *caddyfiletokens.Dispenser) error {
	d.Next()
	d.Args(&r.File)
	return nil
}

func (r *recorder) Handle(_ context.Context, e caddy.Event) error {
	line, err := json.Marshal(e.CloudEvent())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := os.OpenFile(r.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return caddy.ErrEventAborted
}

var (
	_ caddyevents.Handler         = (*recorder)(nil)
	_ caddyfiletokens.Unmarshaler = (*recorder)(nil)
)

// auditLines returns the audit log, without what every line of a log has.
func auditLines(t *testing.T, s *caddyServer) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(s.Logs()) {
		if !strings.Contains(line, `"logger":"sessions.audit"`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		var fields map[string]any
		decode(t, line, &fields)
		if fields["msg"] != "audit" {
			t.Errorf("message %q", fields["msg"])
		}
		maps.DeleteFunc(fields, func(name string, _ any) bool { return slices.Contains([]string{"level", "ts", "logger", "msg"}, name) })
		found = append(found, fields)
	}
	return found
}

// recordedEvents returns the events in the form of auditLines.
func recordedEvents(t *testing.T, s *caddyServer) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var found []map[string]any
	for line := range bytes.Lines(text) {
		var event struct {
			Type, Source string
			Data         map[string]any
		}
		decode(t, string(line), &event)
		if event.Source != "sessions" {
			t.Errorf("event of %q", event.Source)
		}
		event.Data["event"] = event.Type
		found = append(found, event.Data)
	}
	return found
}

// auditedEvents are the events that the recorder hears; Caddy's own are others.
var auditedEvents = []string{
	"session_issued", "sign_in_refused", "session_revoked", "sessions_revoked",
	"logout_repeated", "logout_pending", "logout_refused",
}

// audited is the Caddyfile of the tests with all that can write down what happened.
func audited(t *testing.T, store string) string {
	t.Helper()
	events := ""
	for _, name := range auditedEvents {
		events += "\t\ton " + name + " record {$DIR}/events.jsonl\n"
	}
	text := caddyfile(patient(store, "10s"), "log {\n\t\toutput file {$DIR}/access.log\n"+exampleFilter(t)+"\n\t}",
		"handle /app-login {\n session_auth {\n optional\n issue_on_header X-Signed-In\n }\n reverse_proxy "+newApp(t)+"\n }")
	for old, replacement := range map[string]string{
		"\tdefault_bind": "\tdebug\n\tevents {\n" + events + "\t}\n\tdefault_bind",
		"\tlogout\n":     "\tlogout /bye {\n\t\tsessions_page /account/sessions\n\t\tapp_first off\n\t\tlogout_on {\n\t\t\theader X-Bye yes\n\t\t}\n\t}\n\theader /says-bye X-Bye yes\n",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in the Caddyfile", old)
		}
		text = strings.Replace(text, old, replacement, 1)
	}
	return text
}

// TestAudit does one thing after another and looks at the line that each leaves,
// and at the event with it. Then it looks for every secret of all of it in all
// that was written.
func TestAudit(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		s := start(t, serverOptions{caddyfile: audited(t, store), files: map[string]string{"accounts.txt": accountsFile()}})
		secrets := map[string]string{"password": password}
		secret := func(what, value string) string {
			t.Helper()
			if len(value) < 8 {
				t.Fatalf("%s is %q: too short to look for", what, value)
			}
			secrets[what] = value
			return value
		}
		// handle makes secrets of a credential and its key, and returns how logs
		// name its session.
		handle := func(what, credential string) string {
			t.Helper()
			key := sha256.Sum256([]byte(secret(what, credential)))
			digits := hex.EncodeToString(key[:])
			secrets["the key of "+what] = digits
			return digits[:8]
		}
		var want []map[string]any
		// expect reads what was written since it was last called.
		expect := func(lines ...string) {
			t.Helper()
			for _, line := range lines {
				fields := map[string]any{"client_ip": "127.0.0.1"}
				for pair := range strings.SplitSeq(line, " ") {
					name, value, _ := strings.Cut(pair, "=")
					fields[name] = value
					if name == "count" {
						fields[name] = float64(value[0] - '0')
					}
					if name == "sessions" {
						list := []any{}
						for one := range strings.SplitSeq(value, ",") {
							list = append(list, one)
						}
						fields[name] = list
					}
				}
				want = append(want, fields)
			}
			eventually(t, "the audit log", func() bool { return len(auditLines(t, s)) >= len(want) })
			if got := auditLines(t, s)[len(want)-len(lines):]; !reflect.DeepEqual(got, want[len(want)-len(lines):]) {
				t.Fatalf("the audit log says\n%v\nwant\n%v", got, want[len(want)-len(lines):])
			}
		}
		person := "identity=" + account

		flow, cookies := startLogin(t, s, "browser")
		secret("CSRF token", flow.csrfToken())
		secret("CSRF cookie", valueOf(t, cookies, "csrf_token"))
		right := loginBody(flow.csrfToken())
		call(t, "POST", flow.UI.Action, strings.Replace(right, password, "not-the-"+password, 1), acceptJSON, sendsJSON, "Cookie: "+cookies)
		expect("event=sign_in_refused trigger=login_browser outcome=refused reason=wrong_name_or_password " + person)
		call(t, "POST", flow.UI.Action, strings.Replace(right, account, secret("a password in the wrong field", "typed-in-the-wrong-field"), 1), acceptJSON, sendsJSON, "Cookie: "+cookies)
		expect("event=sign_in_refused trigger=login_browser outcome=refused reason=wrong_name_or_password")
		call(t, "POST", flow.UI.Action, right, acceptJSON, sendsJSON) // without its cookie
		expect("event=sign_in_refused trigger=login_browser outcome=refused reason=security_csrf_violation")

		browser := signInBrowser(t, s)
		first := handle("the first cookie", valueOf(t, browser, cookieName))
		expect("event=session_issued trigger=login_browser outcome=issued " + person + " session=" + first)
		again, cookies := startLogin(t, s, "browser")
		a := call(t, "POST", again.UI.Action, loginBody(again.csrfToken()), acceptJSON, sendsJSON, "Cookie: "+cookies+"; "+cookieName+"="+valueOf(t, browser, cookieName))
		browser = cookieHeader(a)
		second := handle("the second cookie", valueOf(t, browser, cookieName))
		expect("event=session_revoked trigger=sign_in outcome=revoked "+person+" session="+first,
			"event=session_issued trigger=login_browser outcome=issued "+person+" session="+second)

		logout := createLogout(t, s, browser, "")
		secret("logout token", logout.Token)
		call(t, "GET", s.URL("/self-service/logout?token="+logout.Token+"x"), "", acceptBrowser, "Cookie: "+browser)
		expect("event=logout_refused trigger=browser outcome=refused reason=logout_token_mismatch")
		call(t, "GET", logout.URL+"&return_to=https%3A%2F%2Fevil.example", "", acceptJSON, "Cookie: "+browser)
		expect("event=logout_refused trigger=ajax outcome=refused reason=self_service_flow_return_to_forbidden " + person + " session=" + second)
		call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)
		expect("event=session_revoked trigger=browser outcome=revoked " + person + " session=" + second)
		call(t, "GET", logout.URL, "", acceptJSON, "Cookie: "+browser)
		expect("event=logout_repeated trigger=ajax outcome=already session=" + second)

		token := signIn(t, s)
		third := handle("the token", token)
		expect("event=session_issued trigger=login_api outcome=issued " + person + " session=" + third)
		call(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+secret("a made-up token", "ory_st_madeupmadeupmadeupmadeupmadeup")+`"}`, acceptJSON, sendsJSON)
		expect("event=logout_refused trigger=api outcome=refused reason=session_token_invalid")
		call(t, "DELETE", s.URL("/self-service/logout/api"), `{"session_token":"`+token+`"}`, acceptJSON, sendsJSON)
		expect("event=session_revoked trigger=api outcome=revoked " + person + " session=" + third)

		app := call(t, "POST", s.URL("/app-login"), "user=dave")
		fourth := handle("the app's cookie", valueOf(t, cookieHeader(app), cookieName))
		expect("event=session_issued trigger=app outcome=issued identity=dave session=" + fourth)
		call(t, "POST", s.URL("/bye"), "x=y", acceptBrowser, "Cookie: "+cookieHeader(app), "Origin: "+s.URL(""))
		expect("event=session_revoked trigger=app outcome=revoked identity=dave session=" + fourth)
		app = call(t, "POST", s.URL("/app-login"), "user=dave")
		fifth := handle("the app's second cookie", valueOf(t, cookieHeader(app), cookieName))
		call(t, "GET", s.URL("/says-bye"), "", acceptBrowser, "Cookie: "+cookieHeader(app))
		expect("event=session_issued trigger=app outcome=issued identity=dave session="+fifth,
			"event=session_revoked trigger=logout_on outcome=revoked identity=dave session="+fifth)

		var made [3]issued
		var handles [3]string
		for i := range made {
			decode(t, call(t, "POST", s.AdminURL("/sessions"), `{"identity":"erin"}`, sendsJSON).body, &made[i])
			handles[i] = handle("issued token "+string(rune('1'+i)), made[i].Token)
			expect("event=session_issued trigger=admin outcome=issued identity=erin session=" + handles[i])
		}
		id := regexp.MustCompile(`"id": *"([0-9a-f-]{36})"`).FindStringSubmatch(call(t, "GET", s.URL("/sessions"), "", acceptJSON, "X-Session-Token: "+made[0].Token).body)
		if id == nil {
			t.Fatal("no other session is listed")
		}
		call(t, "DELETE", s.URL("/sessions/"+id[1]), "", acceptJSON, "X-Session-Token: "+made[0].Token)
		expect("event=session_revoked trigger=sessions outcome=revoked identity=erin session=" + id[1][:8])
		left := handles[1]
		if id[1][:8] == left {
			left = handles[2]
		}
		call(t, "DELETE", s.URL("/sessions?all=true"), "", acceptJSON, "X-Session-Token: "+made[0].Token)
		expect("event=sessions_revoked trigger=sessions outcome=revoked identity=erin session=" + handles[0] + " count=2 sessions=" + left + "," + handles[0])
		decode(t, call(t, "POST", s.AdminURL("/sessions"), `{"identity":"erin"}`, sendsJSON).body, &made[0])
		last := handle("the last token", made[0].Token)
		expect("event=session_issued trigger=admin outcome=issued identity=erin session=" + last)
		form := url.Values{"end": {"all"}, "csrf_token": {"wrong"}}
		call(t, "POST", s.URL("/account/sessions"), form.Encode(), acceptBrowser, "Content-Type: application/x-www-form-urlencoded", "Cookie: "+cookieName+"="+made[0].Token)
		expect("event=logout_refused trigger=page outcome=refused reason=security_csrf_violation identity=erin session=" + last)
		page := call(t, "GET", s.URL("/account/sessions"), "", acceptBrowser, "Cookie: "+cookieName+"="+made[0].Token).body
		_, csrf, _ := strings.Cut(page, `name="csrf_token" value="`)
		csrf, _, _ = strings.Cut(csrf, `"`)
		form.Set("csrf_token", secret("the token of the page", csrf))
		call(t, "POST", s.URL("/account/sessions"), form.Encode(), acceptBrowser, "Content-Type: application/x-www-form-urlencoded", "Cookie: "+cookieName+"="+made[0].Token)
		expect("event=sessions_revoked trigger=page outcome=revoked identity=erin session=" + last + " count=1 sessions=" + last)

		metrics := call(t, http.MethodGet, s.AdminURL("/metrics"), "").body
		if got := recordedEvents(t, s); !reflect.DeepEqual(got, want) {
			t.Errorf("the events are\n%v\nwant\n%v", got, want)
		}
		s.stop() // what it writes last counts, too
		if got := auditLines(t, s); len(got) != len(want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
		written := map[string]string{"the log": s.Logs(), "the metrics": metrics}
		for where, file := range map[string]string{"the access log": "access.log", "the events": "events.jsonl"} {
			text, err := os.ReadFile(filepath.Join(s.dir, file))
			if err != nil {
				t.Fatal(err)
			}
			written[where] = string(text)
		}
		for where, text := range written {
			for what, secret := range secrets {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("%s is in %s: …%s…", what, where, text[max(0, i-160):min(len(text), i+20)])
				}
			}
		}
		for _, personal := range []string{account, "erin", "dave", "127.0.0.1\"", first} {
			if strings.Contains(metrics, personal) {
				t.Errorf("the metrics tell of %s", personal)
			}
		}
	})
}
