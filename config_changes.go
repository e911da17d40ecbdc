package caddylogout

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// lasting are the settings that affect existing sessions: a reload that changes them
// can sign people out, or leave them signed in unexpectedly. It holds no secret.
type lasting struct {
	cookie web.Cookie
	// store is the kind, place where in it the sessions are.
	store       string
	place       []session.Setting
	idleTimeout time.Duration
	accounts    []string
	// journal is the file of pending logouts, waiting how many are in it.
	journal string
	waiting func() int64
}

// lasting returns these settings of a provisioned app whose store is open.
func (a *App) lasting() lasting {
	l := lasting{
		cookie:      a.Cookie,
		store:       manager.StoreKind(a.storeModule),
		idleTimeout: time.Duration(a.IdleTimeout),
		accounts:    a.accounts,
	}
	if s, ok := a.storeModule.(session.Located); ok {
		l.place = s.Place()
	}
	if j := a.site.Manager.Journal.Load(); j != nil {
		l.journal, l.waiting = a.site.Manager.JournalFile, j.Pending
	}
	return l
}

// change is a difference between two configurations that people will notice.
type change struct{ option, was, is, effect string }

// The effects of a change.
const (
	effectCookieName  = "everybody is signed out: browsers hold a cookie of the old name, which is now the app's to see"
	effectCookieScope = "browsers keep the cookie they have until it ends; a logout ends its session, but cannot clear it"
	effectStore       = "everybody is signed out, unless the same sessions are there"
	effectIdle        = "people who have not used their session for that long are signed out"
	effectJournal     = "logouts that wait in the old journal are not done until it is used again"
	effectAccounts    = "%d accounts are gone: nobody can sign in with them, but the sessions they have go on until they end"
)

// changes returns the differences between two configurations that affect existing
// sessions.
func (l *lasting) changes(next *lasting) []change {
	var found []change
	differ := func(option, was, is, effect string) {
		if was != is {
			found = append(found, change{option, orNone(was), orNone(is), effect})
		}
	}
	differ("cookie", l.cookie.Name, next.cookie.Name, effectCookieName)
	differ("cookie domain", l.cookie.Domain, next.cookie.Domain, effectCookieScope)
	differ("cookie path", l.cookie.Path, next.cookie.Path, effectCookieScope)
	differ("store", l.store, next.store, effectStore)
	if l.store == next.store {
		for i, was := range l.place {
			if is := next.place[i]; !was.Same(is) {
				differ("store "+was.Option, was.Value, is.Value, effectStore)
			}
		}
	}
	// A longer one finds the noted uses; without an idle_timeout before, no session
	// is idle until one timeout has passed.
	if next.idleTimeout != 0 && next.idleTimeout < l.idleTimeout {
		differ("idle_timeout", l.idleTimeout.String(), next.idleTimeout.String(), effectIdle)
	}
	if l.journal != "" && l.waiting() > 0 {
		differ("durable_logout", l.journal, next.journal, effectJournal)
	}
	before, after := unique(l.accounts), unique(next.accounts)
	if gone := missingIn(after, before); gone > 0 {
		found = append(found, change{
			"login accounts", strconv.Itoa(len(before)), strconv.Itoa(len(after)), fmt.Sprintf(effectAccounts, gone),
		})
	}
	return found
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// missingIn counts the names that are no longer there.
func missingIn(after, before map[string]bool) int {
	gone := 0
	for name := range before {
		if !after[name] {
			gone++
		}
	}
	return gone
}

func unique(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// warnOfChanges logs the effects of a reload, one line for each option.
func (a *App) warnOfChanges(found []change) {
	for _, c := range found {
		a.logger.Warn("reload affects existing sessions",
			zap.String("option", c.option), zap.String("was", c.was), zap.String("is", c.is), zap.String("effect", c.effect))
	}
}

// running are the configurations that run in this process: one, and two during
// a reload.
var running configurations

// configurations are those that have been started, in that order.
type configurations struct {
	mu  sync.Mutex
	all []configuration
}

type configuration struct {
	of *App
	lasting
}

// use notes that a configuration runs from now on, and returns the changes. When the
// reload fails later, the one before is the last again.
func (c *configurations) use(a *App, l lasting) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []change
	if n := len(c.all); n > 0 {
		found = c.all[n-1].changes(&l)
	}
	c.all = append(c.all, configuration{a, l})
	return found
}

// drop takes a configuration out, if it is in the list.
func (c *configurations) drop(a *App) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(have configuration) bool { return have.of == a })
}
