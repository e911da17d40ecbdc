// Package check says what a configuration does, without running it: which paths are
// intercepted, what is behind a gate, and where a request would arrive.
package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/store/boltstore"
)

// Checker is a configuration under check.
type Checker struct {
	raw  rawConfig
	site *web.Site
	http *caddyhttp.App
	dir  string
}

// New provisions a configuration. It keeps sessions in an empty file of its own, so
// that every handler works as in production, and queries no store. The process ends
// after it: Caddy has no way to undo it.
func New(config []byte) (*Checker, error) {
	c := new(Checker)
	if err := json.Unmarshal(config, &c.raw); err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	quiet, err := withoutLogs(config)
	if err != nil {
		return nil, err
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(quiet, cfg); err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		return nil, err
	}
	loaded, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil, errors.New("the configuration has no sites")
	}
	c.http = loaded.(*caddyhttp.App)
	if loaded, err = ctx.AppIfConfigured("sessions"); err != nil {
		return nil, errors.New("no site of this configuration uses logout, login or session_auth")
	}
	c.site = loaded.(interface{ Site() *web.Site }).Site()
	if c.dir, err = os.MkdirTemp("", "caddy-sessions-check-"); err != nil {
		return nil, err
	}
	c.site.OpenStore = sync.OnceValues(func() (*manager.Opened, error) {
		store, err := boltstore.Open(filepath.Join(c.dir, "sessions.db"), time.Now, zap.NewNop)
		return &manager.Opened{Store: store}, err
	})
	for _, server := range c.http.Servers {
		if err := c.traceServer(ctx, server); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close removes what the checker has made.
func (c *Checker) Close() {
	if store, err := c.site.OpenStore(); err == nil {
		_ = store.Close()
	}
	_ = os.RemoveAll(c.dir)
}

// withoutLogs replaces the logs, which would open files, by errors alone.
func withoutLogs(config []byte) ([]byte, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(config, &top); err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	top["logging"] = json.RawMessage(`{"logs":{"default":{"level":"ERROR"}}}`)
	return json.Marshal(top)
}

// rawConfig is the part of a configuration in JSON that is listed. Caddy forgets
// the JSON of a module when it loads it.
type rawConfig struct {
	Apps struct {
		HTTP struct {
			Servers map[string]rawServer `json:"servers"`
		} `json:"http"`
	} `json:"apps"`
}

type rawServer struct {
	Listen      []string            `json:"listen"`
	Routes      []rawRoute          `json:"routes"`
	NamedRoutes map[string]rawRoute `json:"named_routes"`
}

type rawRoute struct {
	Group  string                       `json:"group"`
	Match  []map[string]json.RawMessage `json:"match"`
	Handle []json.RawMessage            `json:"handle"`
}

// origins returns where the sites of a configuration are, once each and in order.
func (c *Checker) origins() []string {
	var origins []string
	for name, server := range c.raw.Apps.HTTP.Servers {
		for _, route := range server.Routes {
			for _, set := range route.Match {
				var hosts []string
				_ = json.Unmarshal(set["host"], &hosts) // it was loaded, so it can be read
				for _, host := range hosts {
					origins = append(origins, c.origin(name, host))
				}
			}
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// origin returns the address of a host on a server. For a wildcard, any host that
// it covers is as good as another.
func (c *Checker) origin(server, host string) string {
	u := url.URL{Scheme: "http", Host: strings.Replace(host, "*", "any", 1)}
	s := c.http.Servers[server]
	if s == nil {
		return u.String()
	}
	port := uint(defaultHTTPPort)
	if len(s.TLSConnPolicies) > 0 {
		u.Scheme, port = "https", defaultHTTPSPort
	}
	if len(s.Listen) > 0 {
		if address, err := caddy.ParseNetworkAddress(s.Listen[0]); err == nil && address.StartPort != port {
			u.Host = net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.FormatUint(uint64(address.StartPort), 10))
		}
	}
	return u.String()
}

// The ports that an address does not name (RFC 9110, sections 4.2.1 and 4.2.2).
const (
	defaultHTTPPort  = 80
	defaultHTTPSPort = 443
)
