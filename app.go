package caddylogout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/formats/native"
	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
	"github.com/caddy-logout/caddy-logout/internal/telemetry"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// Defaults of the sessions app.
const (
	defaultLifespan  = 24 * time.Hour
	defaultReturnURL = "/"
)

// App is the sessions app: it configures the store of sessions, their cookie, their
// lifespan, and the return URLs. All sites of a Caddy instance share it, and its
// store lives through reloads.
type App struct {
	// StoreRaw is the store of sessions: {"module": "embedded"}, or
	// {"module": "redis"}. Default: embedded, in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=sessions.stores inline_key=module"`

	// Cookie is how the session cookie looks.
	Cookie web.Cookie `json:"cookie,omitzero"`

	// Lifespan is how long a session lives from sign-in. Default: 24h.
	Lifespan caddy.Duration `json:"lifespan,omitempty"`

	// IdleTimeout ends a session without a use for this long. A server writes a use
	// at most once per tenth of it. Default: off.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// MaxSessions is how many sessions a person has at most, from 1 to 10,000;
	// 0 is no bound. When a sign-in makes one more, the oldest end. Default: 100.
	MaxSessions *int `json:"max_sessions,omitempty"`

	// BaseURL is the scheme, host and port that browsers use, for example
	// https://app.example.com. Default: those of each request, as far as Caddy
	// trusts them. Placeholders are expanded at start.
	BaseURL string `json:"base_url,omitempty"`

	// Prefix goes before all of our paths, for example /.ory. Default: none.
	Prefix string `json:"prefix,omitempty"`

	// DefaultReturnURL is where a browser goes after signing in or out when it
	// asked for nothing else: a path, or an absolute URL. Default: /.
	// Placeholders are expanded at start.
	DefaultReturnURL string `json:"default_return_url,omitempty"`

	// AllowedReturnURLs are the return URLs that a client may name, besides those of
	// its own host: scheme, host, port and whole path segments are compared;
	// https://*.example.com allows every host below example.com. Placeholders are
	// expanded at start. See docs/return-urls.md.
	AllowedReturnURLs []string `json:"allowed_return_urls,omitempty"`

	// ErrorUI is the page that browsers are sent to on an error, with ?id=….
	// Default: a built-in page. Placeholders are expanded at start.
	ErrorUI string `json:"error_ui,omitempty"`

	// Pages changes the pages that we show to people. Default: ours, in English.
	Pages Pages `json:"pages,omitzero"`

	// DurableLogout accepts a logout while the store is unavailable. Default: off.
	DurableLogout *DurableLogout `json:"durable_logout,omitempty"`

	// NearCache keeps sessions in memory if the store notifies of changes, as Redis
	// does. Default: on.
	NearCache NearCache `json:"near_cache,omitzero"`

	storeModule session.StoreModule
	site        *web.Site
	auditLog    *telemetry.Audit
	accounts    []string // of all login handlers; see lasting
	clock       func() time.Time
	logger      *zap.Logger
}

// CaddyModule implements caddy.Module.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sessions", New: func() caddy.Module { return new(App) }}
}

// Provision implements caddy.Provisioner. It opens nothing and sends nothing, so that
// an operator can validate a configuration without the store.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	a.clock = time.Now
	if a.Lifespan == 0 {
		a.Lifespan = caddy.Duration(defaultLifespan)
	}
	if a.MaxSessions == nil {
		a.MaxSessions = new(defaultMaxSessions)
	}
	a.Cookie.SetDefaults()
	if err := a.expandPlaceholders(); err != nil {
		return err
	}
	set, err := a.Pages.load()
	if err != nil {
		return err
	}
	returnURLs, err := returnurl.New(a.DefaultReturnURL, a.AllowedReturnURLs)
	if err != nil {
		return err
	}
	if len(a.StoreRaw) == 0 {
		a.StoreRaw = json.RawMessage(`{"module":"embedded"}`)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading the session store: %w", err)
	}
	var ok bool
	if a.storeModule, ok = module.(session.StoreModule); !ok {
		return fmt.Errorf("session store %T is not a store module", module)
	}
	to, err := eventsOf(ctx)
	if err != nil {
		return err
	}
	a.auditLog = telemetry.NewAudit(a.logger, to, a.now)
	journal, err := a.journalFile()
	if err != nil {
		return err
	}
	sessions := manager.New(manager.Config{
		Store: a.storeModule, Format: native.New(a.Cookie.Name),
		Lifespan: time.Duration(a.Lifespan), IdleTimeout: time.Duration(a.IdleTimeout), MaxSessions: *a.MaxSessions,
		Cache: a.NearCache.config(), JournalFile: journal,
		Logger: a.logger, Audit: a.auditLog, Clock: a.now,
	})
	a.site = web.New(web.Config{
		Cookie: a.Cookie, BaseURL: a.BaseURL, Prefix: a.Prefix, ErrorUI: a.ErrorUI, ReturnURLs: returnURLs, Pages: set,
	}, sessions)
	if err := a.registerMetrics(ctx); err != nil {
		return fmt.Errorf("sessions: metrics: %w", err)
	}
	return nil
}

// expandPlaceholders replaces placeholders that are known at start. An unset one is
// an error: a half-empty URL could point anywhere.
func (a *App) expandPlaceholders() error {
	repl := caddy.NewReplacer()
	expand := func(option, value string) (string, error) {
		out, err := repl.ReplaceOrErr(value, true, true)
		if err != nil {
			return "", fmt.Errorf("sessions: %s: %w", option, err)
		}
		return out, nil
	}
	if a.DefaultReturnURL == "" {
		a.DefaultReturnURL = defaultReturnURL
	}
	for option, value := range map[string]*string{
		"base_url": &a.BaseURL, "default_return_url": &a.DefaultReturnURL, "error_ui": &a.ErrorUI, "prefix": &a.Prefix,
	} {
		var err error
		if *value, err = expand(option, *value); err != nil {
			return err
		}
	}
	a.BaseURL = strings.TrimSuffix(a.BaseURL, "/")
	for i, value := range a.AllowedReturnURLs {
		var err error
		if a.AllowedReturnURLs[i], err = expand("allowed_return_urls", value); err != nil {
			return err
		}
	}
	return nil
}

// Validate implements caddy.Validator.
func (a *App) Validate() error {
	switch {
	case a.Lifespan < 0 || time.Duration(a.Lifespan) > manager.MaxLifespan:
		return errors.New("sessions: lifespan: want more than 0 and at most 10 years")
	case a.IdleTimeout < 0:
		return errors.New("sessions: idle_timeout: want 0 (off) or more")
	case a.IdleTimeout > a.Lifespan:
		return errors.New("sessions: idle_timeout is longer than lifespan, so it would never end a session")
	}
	for _, option := range []struct {
		name, value string
		check       func(string) error
	}{
		{"base_url", a.BaseURL, validateBaseURL},
		{"prefix", a.Prefix, web.ValidatePrefix},
		{"error_ui", a.ErrorUI, validatePageURL},
	} {
		if err := option.check(option.value); err != nil {
			return fmt.Errorf("sessions: %s: %w", option.name, err)
		}
	}
	if err := validateMaxSessions(a.MaxSessions); err != nil {
		return fmt.Errorf("sessions: max_sessions: %w", err)
	}
	if err := a.Cookie.Validate(); err != nil {
		return fmt.Errorf("sessions: cookie: %w", err)
	}
	if err := a.NearCache.validate(); err != nil {
		return fmt.Errorf("sessions: near_cache: %w", err)
	}
	if !a.storeIsRemote() && a.NearCache.isSet() {
		return fmt.Errorf("sessions: near_cache: %w", errCacheEmbedded)
	}
	return nil
}

// validateBaseURL checks that there is an origin and nothing else.
func validateBaseURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("want scheme and host alone, like https://app.example.com")
	}
	return nil
}

// validatePageURL checks the address of a page that browsers are sent to.
func validatePageURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" ||
		(u.Host == "" && !strings.HasPrefix(u.Path, "/")) ||
		(u.Host != "" && u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("want a path or an http(s) URL")
	}
	return nil
}

// Start implements caddy.App: it opens the store, so that an error fails the load and
// not the first request.
func (a *App) Start() error {
	if err := a.site.Manager.Start(); err != nil {
		return err
	}
	a.warnOfChanges(running.use(a, a.lasting()))
	return nil
}

// Stop implements caddy.App. Cleanup gives everything back, since Caddy also calls it
// for an app that never started.
func (*App) Stop() error { return nil }

// Cleanup implements caddy.CleanerUpper. Caddy calls it also after a failed
// Provision, and while requests of this configuration are still being served.
func (a *App) Cleanup() error {
	running.drop(a)
	if a.site != nil {
		a.site.Manager.Close()
	}
	return nil
}

// Site returns the site that the app configures.
func (a *App) Site() *web.Site { return a.site }

// storeIsRemote reports whether the store is a server, which can be unavailable.
func (a *App) storeIsRemote() bool {
	_, remote := a.storeModule.(session.Remote)
	return remote
}

func (a *App) now() time.Time { return a.clock() }

// Interface guards.
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

// appOf returns the sessions app of a context.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("sessions")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}
