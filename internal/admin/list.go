package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-logout/caddy-logout/internal/manager"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"
	"github.com/caddy-logout/caddy-logout/session"
)

// adminSession is a session as the admin endpoint shows it.
type adminSession struct {
	web.Session
	// LastUsedAt is the last use that is known of, with idle_timeout only.
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// Page is an answer to GET /sessions.
type Page struct {
	Sessions []adminSession `json:"sessions"`
	// NextPageToken is the page_token of what follows; empty if nothing does.
	NextPageToken string `json:"next_page_token,omitempty"`
}

// list answers with the sessions of a person, those that end last first. A page is
// read from the index as it is then: what is made or ended meanwhile makes no other
// session come twice or not at all.
func (s *API) list(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	query, err := adminQuery(r, "identity", "page_size", "page_token")
	if err != nil {
		return err
	}
	identity, err := wantIdentity(query)
	if err != nil {
		return err
	}
	page, err := ParseCursor(query)
	if err != nil {
		return err
	}
	answer, err := ReadPage(r.Context(), site, identity, page)
	if err != nil {
		return s.Fail(w, err)
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

// ReadPage reads a page of the sessions of a person.
func ReadPage(ctx context.Context, site *web.Site, identity string, page Cursor) (Page, error) {
	answer := Page{Sessions: []adminSession{}}
	store, err := site.OpenStore()
	if err != nil {
		return answer, err
	}
	keys, err := store.Keys(ctx, identity)
	if err != nil {
		return answer, err
	}
	keys = slices.DeleteFunc(keys, func(key session.IndexedKey) bool { return !page.before(key) })
	slices.SortFunc(keys, compareIndexed)
	if len(keys) > page.Size {
		keys = keys[:page.Size]
		answer.NextPageToken = cursorAt(keys[page.Size-1]).String()
	}
	found, err := site.PeekAll(ctx, keys)
	if err != nil {
		return answer, err
	}
	for _, f := range found {
		answer.Sessions = append(answer.Sessions, adminJSON(site, f))
	}
	return answer, nil
}

// show answers with one session. A request names it by its id, or by the first 8
// digits of it, as in the logs; with the identity, the index finds it without reading
// other people's sessions.
func (s *API) show(w http.ResponseWriter, r *http.Request) error {
	site, err := activeSite()
	if err != nil {
		return err
	}
	key, _, err := s.Named(site, r)
	if err != nil {
		return s.Fail(w, err)
	}
	found, err := site.Peek(r.Context(), key)
	if err != nil {
		return s.Fail(w, err)
	}
	if found.Session == nil {
		return s.Fail(w, errNoSuchSession)
	}
	return web.WriteJSON(w, http.StatusOK, adminJSON(site, found))
}

func adminJSON(site *web.Site, found manager.Found) adminSession {
	out := adminSession{Session: web.SessionJSON(found.Session, site.BaseURL)}
	if site.IdleTimeout > 0 {
		used := found.LastUsed.UTC()
		out.LastUsedAt = &used
	}
	return out
}

// errNoSuchSession means that the store has answered and the person has no such
// session: it has ended, or never existed.
var errNoSuchSession = errors.New("this person has no live session of that id")

// NoSuchSessionID goes with it in the header Ory-Error-Id, so that a client can tell
// it from a path or a configuration that does not exist.
const NoSuchSessionID = "session_not_found"

// Named finds the key of the session that a request names.
func (s *API) Named(site *web.Site, r *http.Request) (session.Key, string, error) {
	query, err := adminQuery(r, "identity")
	if err != nil {
		return session.Key{}, "", err
	}
	matches, err := parseHandle(r.PathValue("id"))
	if err != nil {
		return session.Key{}, "", err
	}
	identity, err := wantIdentity(query)
	if err != nil {
		return session.Key{}, "", err
	}
	store, err := site.OpenStore()
	if err != nil {
		return session.Key{}, "", err
	}
	keys, err := store.Keys(r.Context(), identity)
	if err != nil {
		return session.Key{}, "", err
	}
	keys = slices.DeleteFunc(keys, func(key session.IndexedKey) bool { return !matches(key.Key) })
	switch len(keys) {
	case 0:
		return session.Key{}, "", errNoSuchSession
	case 1:
		return keys[0].Key, identity, nil
	}
	return session.Key{}, "", adminError(http.StatusConflict, "several sessions of this person begin with these digits: give the whole id")
}

// parseHandle reads the id of a session, or the beginning of one that logs show.
func parseHandle(handle string) (matches func(session.Key) bool, err error) {
	handle = strings.ToLower(handle)
	if _, err := uuid.Parse(handle); err == nil && len(handle) == 36 {
		return func(key session.Key) bool { return key.ID() == handle }, nil
	}
	if len(handle) == len(session.Key{}.Short()) && strings.Trim(handle, "0123456789abcdef") == "" {
		return func(key session.Key) bool { return key.Short() == handle }, nil
	}
	return nil, adminError(http.StatusBadRequest, "id: want the id of a session, a UUID, or its first 8 digits")
}

// adminQuery reads the query. An unknown parameter is an error: a misspelt word must
// not change the meaning.
func adminQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, adminError(http.StatusBadRequest, "the query cannot be read")
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, adminError(http.StatusBadRequest, fmt.Sprintf("unknown parameter %q: want %s", web.Clip(name, 50), strings.Join(known, ", ")))
		}
		if len(values) > 1 {
			return nil, adminError(http.StatusBadRequest, name+" is given twice")
		}
	}
	return query, nil
}

// wantIdentity returns the identity of the request. It may be one for which we make
// no session: sessions that a login service has written can be listed and ended.
func wantIdentity(query url.Values) (string, error) {
	identity := query.Get("identity")
	if identity == "" {
		return "", adminError(http.StatusBadRequest, "identity: want the id of a person, as in ?identity=alice; sessions are found by it")
	}
	if len(identity) > manager.MaxIdentityLength {
		return "", adminError(http.StatusBadRequest, fmt.Sprintf("identity: at most %d bytes", manager.MaxIdentityLength))
	}
	return identity, nil
}

// Cursor is where a page begins, and how many sessions it has.
type Cursor struct {
	after *session.IndexedKey // nil: at the beginning
	Size  int
}

// cursorToken is what page_token holds, in base64url: the session before the
// page, by when it ends and by its id.
type cursorToken struct {
	Ends int64  `json:"ends"`
	Key  []byte `json:"at"`
}

// idLength is how many bytes of a key are in the id of its session. The token
// holds no more of it.
const idLength = 16

func cursorAt(key session.IndexedKey) cursorToken {
	return cursorToken{Ends: key.ExpiresAt.UnixMilli(), Key: key.Key[:idLength]}
}

// String returns the token.
func (t cursorToken) String() string {
	text, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(text)
}

// compareIndexed sorts what ends last first: mostly also the newest.
func compareIndexed(x, y session.IndexedKey) int {
	return cmp.Or(y.ExpiresAt.Compare(x.ExpiresAt), bytes.Compare(x.Key[:idLength], y.Key[:idLength]))
}

// before reports whether the page begins before a key.
func (p Cursor) before(key session.IndexedKey) bool {
	return p.after == nil || compareIndexed(*p.after, key) < 0
}

// ParseCursor reads where a page begins, and how many sessions it holds.
func ParseCursor(query url.Values) (Cursor, error) {
	page := Cursor{Size: signout.DefaultPageSize}
	if raw := query.Get("page_size"); raw != "" {
		size, err := strconv.Atoi(raw)
		if err != nil || size < 1 || size > signout.MaxPageSize {
			return page, adminError(http.StatusBadRequest, fmt.Sprintf("page_size: want 1 to %d", signout.MaxPageSize))
		}
		page.Size = size
	}
	raw := query.Get("page_token")
	if raw == "" {
		return page, nil
	}
	var token cursorToken
	text, err := base64.RawURLEncoding.DecodeString(raw)
	if err == nil {
		err = json.Unmarshal(text, &token)
	}
	if err == nil && len(token.Key) != idLength {
		err = errors.New("not as long as an id")
	}
	if err != nil {
		return page, adminError(http.StatusBadRequest, "page_token: want what next_page_token said")
	}
	page.after = &session.IndexedKey{ExpiresAt: time.UnixMilli(token.Ends).UTC()}
	copy(page.after.Key[:], token.Key)
	return page, nil
}
