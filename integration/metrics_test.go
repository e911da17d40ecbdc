package integration_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// scrape returns our metrics as Prometheus gets them: values by series.
func scrape(t testing.TB, s *caddyServer) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	for line := range strings.Lines(call(t, http.MethodGet, s.AdminURL("/metrics"), "").body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.LastIndex(line, "} "); at >= 0 {
			series, value = line[:at+1], strings.TrimSpace(line[at+2:])
		}
		if !ok || !strings.HasPrefix(series, "caddy_sessions_") {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		found[strings.TrimPrefix(series, "caddy_sessions_")] = number
	}
	return found
}

// sum adds up the series that begin so.
func sum(series map[string]float64, prefix string) float64 {
	total := 0.0
	for name, value := range series {
		if strings.HasPrefix(name, prefix) {
			total += value
		}
	}
	return total
}

// counted are the series that count what people did; those of the store and of
// the near cache also count what goes on by itself.
var counted = regexp.MustCompile(`^(checks|logouts|sign_ins|return_urls_refused)_total`)

// rises returns by how much each of those has risen.
func rises(before, after map[string]float64) map[string]float64 {
	rise := make(map[string]float64)
	for name, value := range after {
		if counted.MatchString(name) && value != before[name] {
			rise[name] = value - before[name]
		}
	}
	return rise
}

func wantRises(t *testing.T, before, after, want map[string]float64) {
	t.Helper()
	if got := rises(before, after); !maps.Equal(got, want) {
		t.Errorf("what has risen:\n%v\nwant\n%v", got, want)
	}
}

// measured is a Caddyfile with all that has metrics.
func measured(redis *redistest.Server) string {
	// A logout of the outage waits as long as this, once.
	return caddyfile(patient(redisStore(redis), "3s") + "\n\t\tdurable_logout {\n\t\t\tjournal {$DIR}/pending.db\n\t\t}")
}

// TestMetrics does one thing after another and looks at what was counted.
func TestMetrics(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := start(t, serverOptions{caddyfile: measured(redis), files: map[string]string{"accounts.txt": accountsFile()}})
	was := scrape(t, s)
	step := func(what string, do func(), want map[string]float64) {
		t.Helper()
		t.Run(what, func(t *testing.T) {
			do()
			now := scrape(t, s)
			// Whether the near cache or the store knew it, the clock decides.
			for _, outcome := range []string{"authenticated", "dead"} {
				series := `checks_total{outcome="` + outcome + `",source="`
				for _, sources := range []map[string]float64{was, now} {
					sources[series+`either"}`] = sources[series+`cache"}`] + sources[series+`store"}`]
					delete(sources, series+`cache"}`)
					delete(sources, series+`store"}`)
				}
			}
			wantRises(t, was, now, want)
			was = scrape(t, s)
		})
	}
	live, dead, anonymous := `checks_total{outcome="authenticated",source="either"}`, `checks_total{outcome="dead",source="either"}`, `checks_total{outcome="anonymous",source="none"}`
	var token, browser string
	step("sign in by the API", func() { token = signIn(t, s) }, map[string]float64{`sign_ins_total{outcome="issued",trigger="login_api"}`: 1})
	step("sign in by a browser", func() { browser = signInBrowser(t, s) }, map[string]float64{`sign_ins_total{outcome="issued",trigger="login_browser"}`: 1, anonymous: 1})
	step("a wrong password", func() {
		flow, _ := startLogin(t, s, "api")
		call(t, "POST", flow.UI.Action, strings.Replace(loginBody(""), password, "wrong", 1), acceptJSON, sendsJSON)
	}, map[string]float64{`sign_ins_total{outcome="refused",trigger="login_api"}`: 1})
	step("checks", func() {
		for range 5 {
			whoami(t, s, "X-Session-Token: "+token)
		}
		whoami(t, s, "X-Session-Token: made-up")
		whoami(t, s, "Accept: */*")
	}, map[string]float64{live: 5, dead: 1, anonymous: 1})
	step("return URLs", func() {
		for _, raw := range []string{"https://evil.example", "javascript:alert(1)", "https://a%00b", `https:\\evil.example`, "https://user@evil.example", "/" + strings.Repeat("x", 3000), "https://["} {
			call(t, "GET", s.URL("/self-service/login/browser?return_to="+strings.NewReplacer("%", "%25", `\`, "%5C", "[", "%5B", "@", "%40").Replace(raw)), "", acceptJSON)
		}
	}, map[string]float64{
		`return_urls_refused_total{rule="not_allowed"}`: 1, `return_urls_refused_total{rule="scheme"}`: 1, `return_urls_refused_total{rule="characters"}`: 1,
		`return_urls_refused_total{rule="authority"}`: 1, `return_urls_refused_total{rule="length"}`: 1, `return_urls_refused_total{rule="ambiguous"}`: 2,
	})
	step("logout by a browser, twice", func() {
		logout := createLogout(t, s, browser, "")
		for range 2 {
			call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)
		}
	}, map[string]float64{live: 2, dead: 1, `logouts_total{outcome="revoked",trigger="browser"}`: 1, `logouts_total{outcome="already",trigger="browser"}`: 1})
	step("end all by the API", func() {
		call(t, "DELETE", s.URL("/sessions?all=true"), "", acceptJSON, "X-Session-Token: "+signIn(t, s))
	}, map[string]float64{live: 1, `sign_ins_total{outcome="issued",trigger="login_api"}`: 1, `logouts_total{outcome="revoked",trigger="sessions"}`: 2})

	t.Run("reload", func(t *testing.T) {
		before := scrape(t, s)
		for _, other := range []string{"lifespan 2h", "near_cache {\n entries 7\n }", "lifespan 3h"} {
			s.Reload(strings.Replace(measured(redis), "sessions {", "sessions {\n\t\t"+other, 1))
		}
		after := scrape(t, s)
		for name, value := range before {
			if now, ok := after[name]; !ok || now < value && !strings.HasPrefix(name, "near_cache_entries") && !strings.HasPrefix(name, "near_cache_armed") {
				t.Errorf("%s was %v and is %v", name, value, now)
			}
		}
		if got, want := slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)); !slices.Equal(got, want) {
			t.Errorf("the series are\n%v\nand were\n%v", got, want)
		}
		wantRises(t, before, after, map[string]float64{})
		token = signIn(t, s)
		if got := scrape(t, s)[`sign_ins_total{outcome="issued",trigger="login_api"}`]; got != before[`sign_ins_total{outcome="issued",trigger="login_api"}`]+1 {
			t.Errorf("after the reload, %v sign-ins", got)
		}
	})

	t.Run("near cache", func(t *testing.T) {
		before := scrape(t, s)
		eventually(t, "a check that the near cache answers", func() bool {
			whoami(t, s, "X-Session-Token: "+token)
			return scrape(t, s)["near_cache_hits_total"] > before["near_cache_hits_total"]
		})
		eventually(t, "the cache to be armed, and to hold something", func() bool {
			whoami(t, s, "X-Session-Token: "+token)
			now := scrape(t, s)
			return now["near_cache_armed"] == 1 && now["near_cache_entries"] >= 1
		})
		now := scrape(t, s)
		if hits := sum(now, "checks_total{") - sum(now, `checks_total{outcome="anonymous"`) - now["near_cache_misses_total"]; hits != now["near_cache_hits_total"] {
			t.Errorf("%v hits, and by the checks %v", now["near_cache_hits_total"], hits)
		}
	})

	t.Run("store", func(t *testing.T) {
		now := scrape(t, s)
		for _, operation := range []string{"get", "create", "revoke", "revoke_all", "keys"} {
			count := now[`store_operation_duration_seconds_count{operation="`+operation+`"}`]
			seconds := now[`store_operation_duration_seconds_sum{operation="`+operation+`"}`]
			if count < 1 || seconds <= 0 || seconds/count > 20 {
				t.Errorf("%s: %v in %v s", operation, count, seconds)
			}
		}
	})

	t.Run("outage", func(t *testing.T) {
		browser = signInBrowser(t, s)
		logout := createLogout(t, s, browser, "")
		redis.Pause(t)
		resumed := false
		defer func() {
			if !resumed {
				redis.Resume(t)
			}
		}()
		before := scrape(t, s)
		call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)
		eventually(t, "the breaker to open", func() bool {
			var all sync.WaitGroup
			for range 4 { // as many in a row as it takes, at once
				all.Go(func() {
					_, _ = tryCall(t, "GET", s.URL("/sessions/whoami"), "", acceptJSON, "X-Session-Token: "+rand.Text())
				})
			}
			all.Wait()
			now := scrape(t, s)
			return now["store_breakers_open"] == 1 && now["store_breaker_opened_total"] >= 1
		})
		now := scrape(t, s)
		if got := now["pending_logouts"]; got != 1 {
			t.Errorf("%v pending logouts", got)
		}
		if got := now[`logouts_total{outcome="pending",trigger="browser"}`] - before[`logouts_total{outcome="pending",trigger="browser"}`]; got != 1 {
			t.Errorf("%v logouts became pending", got)
		}
		whoami(t, s, "Cookie: "+browser)
		for _, series := range []string{`checks_total{outcome="unavailable",source="store"}`, `store_errors_total{operation="get"}`} {
			if now[series] <= before[series] {
				t.Errorf("%s was %v and is %v", series, before[series], now[series])
			}
		}
		if got := scrape(t, s)[`checks_total{outcome="pending",source="journal"}`]; got < 1 {
			t.Error("the check of a session whose logout is pending was not counted")
		}
		redis.Resume(t)
		resumed = true
		eventually(t, "all is well", func() bool {
			now := scrape(t, s)
			// What was sent to a frozen server may have been done as soon as it
			// thawed, before the journal is replayed.
			return now["pending_logouts"] == 0 && now["store_breakers_open"] == 0 &&
				now[`logouts_total{outcome="revoked",trigger="journal"}`]+now[`logouts_total{outcome="already",trigger="journal"}`] == 1
		})
	})

	t.Run("labels", func(t *testing.T) {
		// Fixed words, and no more series than a page of a dashboard can show.
		now := scrape(t, s)
		if len(now) > 300 {
			t.Errorf("%d series", len(now))
		}
		allowed := regexp.MustCompile(`^[a-z_]+(\{((outcome|source|trigger|operation|rule|access)="[a-z_]+"|le="[0-9.e+Inf-]+"|,)+\})?$`)
		for name := range now {
			if !allowed.MatchString(name) {
				t.Errorf("series %s", name)
			}
		}
	})

	t.Run("documents", func(t *testing.T) { wantDocumented(t, scrape(t, s)) })
}

// ourMetric finds names of ours in a text.
var ourMetric = regexp.MustCompile(`\bcaddy_sessions_[a-z_]+`)

// wantDocumented checks that every metric is in docs/metrics.md, and that there
// is none in it, in the dashboard and in the alerts that is not exported.
func wantDocumented(t *testing.T, series map[string]float64) {
	t.Helper()
	exported := make(map[string]bool)
	for name := range series {
		name, _, _ = strings.Cut(name, "{")
		exported["caddy_sessions_"+name] = true
	}
	text := make(map[string]string)
	for _, name := range []string{"metrics.md", "grafana-dashboard.json", "alerts.yaml"} {
		content, err := os.ReadFile(filepath.Join("..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(content)
		found := ourMetric.FindAllString(text[name], -1)
		if len(found) == 0 {
			t.Errorf("docs/%s names no metric", name)
		}
		for _, metric := range found {
			if !exported[metric] && !exported[metric+"_count"] {
				t.Errorf("docs/%s: there is no metric %s", name, metric)
			}
		}
	}
	for metric := range exported {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			metric = strings.TrimSuffix(metric, suffix)
		}
		if !strings.Contains(text["metrics.md"], "`"+metric+"`") {
			t.Errorf("docs/metrics.md: nothing of %s", metric)
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text["grafana-dashboard.json"]), &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Errorf("docs/grafana-dashboard.json: %d panels, %v", len(dashboard.Panels), err)
	}
}

// TestAlerts lets promtool read the alert rules and the queries of the dashboard,
// and play through the rules' own tests: when each alert fires, and when not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	readsFiles(t, "testdata")
	if _, err := os.Stat(filepath.Join("..", "docs", "alerts.yaml")); err != nil {
		t.Fatal(err)
	}
	promtool("check", "rules", filepath.Join("..", "docs", "alerts.yaml"))
	promtool("test", "rules", filepath.Join("testdata", "alerts_test.yaml"))

	content, err := os.ReadFile(filepath.Join("..", "docs", "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	decode(t, string(content), &dashboard)
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m").Replace(target.Expr)
			fmt.Fprintf(&rules, "  - record: query%d\n    expr: %q\n", queries, expr)
			queries++
		}
	}
	if queries < 10 {
		t.Errorf("%d queries in the dashboard", queries)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	writeFile(t, file, rules.String())
	promtool("check", "rules", file)
}
