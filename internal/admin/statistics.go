package admin

import (
	"context"
	"net/http"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/storehealth"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// adminStatistics is the response to GET /sessions/statistics. All of it is of this
// process but Sessions and Store.
type adminStatistics struct {
	Store storeStatistics `json:"store"`
	// NearCache is null without a near cache.
	NearCache *cacheStatistics `json:"near_cache"`
	// Sessions is how many live sessions there are; null where counting would load a
	// shared server.
	Sessions *int `json:"sessions"`
	// OpenRequests is how many requests are open for a session.
	OpenRequests int `json:"open_requests"`
	// PendingLogouts is how many logouts wait for the store to come back.
	PendingLogouts int `json:"pending_logouts"`
}

// cacheStatistics is [nearcache.Stats] in JSON.
type cacheStatistics struct {
	Armed   bool   `json:"armed"`
	Entries int    `json:"entries"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Reads   uint64 `json:"reads"`
	Joined  uint64 `json:"joined"`
}

type storeStatistics struct {
	Module string `json:"module"`
	Ready  bool   `json:"ready"`
	// Away are the servers to which nothing is sent until they answer again.
	Away []session.UnavailableServer `json:"away"`
	// Faults is what keeps the store from being used.
	Faults []storehealth.Fault `json:"faults"`
}

// statistics answers 200 while the store is unavailable, too: operators need it most
// then.
func (s *API) statistics(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	return web.WriteJSON(w, http.StatusOK, readStatistics(ctx, site))
}

func readStatistics(ctx context.Context, site *web.Site) adminStatistics {
	out := adminStatistics{Store: storeStatistics{Ready: site.Ready(ctx) == nil, Away: []session.UnavailableServer{}, Faults: []storehealth.Fault{}}}
	out.Store.Module = manager.StoreKind(site.Manager.Store)
	store, err := site.OpenStore()
	if err != nil {
		return out
	}
	out.Store.Faults = store.Health.Faults()
	out.OpenRequests = store.Streams.Count()
	if store.Cache != nil {
		stats := store.Cache.Stats()
		out.NearCache = &cacheStatistics{
			Armed: stats.Armed, Entries: stats.Entries,
			Hits: stats.Hits, Misses: stats.Misses, Reads: stats.Reads, Joined: stats.Joined,
		}
	}
	if j := site.Journal.Load(); j != nil {
		out.PendingLogouts = int(j.Pending())
	}
	if store.Reports != nil {
		if servers, ok := store.Reports.Watcher.(session.Servers); ok {
			out.Store.Away = servers.UnavailableServers()
		}
	}
	if !site.Manager.IsRemote() {
		sessions := 0
		err := store.WalkKeys(ctx, func(keys []session.Key) error {
			sessions += len(keys)
			return nil
		})
		if err == nil {
			out.Sessions = &sessions
		}
	}
	return out
}
