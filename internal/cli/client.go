package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-logout/caddy-logout/internal/admin"
	"github.com/caddy-logout/caddy-logout/internal/signout"
	"github.com/caddy-logout/caddy-logout/internal/web"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-logout/caddy-logout/pages"
)

const (
	// adminTimeout bounds a response; those that show progress have no bound.
	adminTimeout = 30 * time.Second
	// completionTimeout bounds one that a shell waits for.
	completionTimeout = 2 * time.Second
	// maxAdminAnswer bounds a response in bytes: a thousand sessions with all that
	// can be in them.
	maxAdminAnswer = 64 << 20
)

// adminClient is a client of the admin endpoint. Caddy's own function does not tell a
// refusal from an outage, nor can it stream.
type adminClient struct {
	http   *http.Client
	origin string
}

// newAdminClient finds the address as Caddy's own commands do.
func newAdminClient(flags caddycmd.Flags) (*adminClient, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return nil, fmt.Errorf("finding the admin endpoint: %q is not an address", address)
	}
	origin := "http://" + parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		origin = "http://127.0.0.1" // Caddy wants this or nothing of a socket
		// The permissions of the socket may stand behind its path.
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|")
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
		},
	}
	return &adminClient{http: &http.Client{Transport: transport, Timeout: adminTimeout}, origin: origin}, nil
}

// ask sends a request and returns the response if it reports success. The caller
// closes its body.
func (c *adminClient) ask(method, path string, query url.Values, body []byte, header http.Header) (*http.Response, error) {
	address := c.origin + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(context.Background(), method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the admin endpoint: %w", err)
	}
	maps.Copy(r.Header, header)
	r.Header.Set("Origin", c.origin)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, &commandError{exitUnavailable, fmt.Errorf("asking the admin endpoint: %w; is Caddy running there?", withoutURL(err))}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, answerError(resp)
}

// withoutURL takes the address out of an error: the operator who typed the query
// knows it, and it is long.
func withoutURL(err error) error {
	if inside, ok := errors.AsType[*url.Error](err); ok {
		return inside.Err
	}
	return err
}

// answerError makes an error of a response.
func answerError(resp *http.Response) error {
	var answer struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(text, &answer) != nil || answer.Error == "" {
		answer.Error = resp.Status
	}
	err := errors.New(answer.Error)
	switch {
	case resp.StatusCode == http.StatusNotFound && resp.Header.Get("Ory-Error-Id") == admin.NoSuchSessionID:
		return &commandError{exitNotFound, err}
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable:
		return err
	case resp.StatusCode == http.StatusServiceUnavailable:
		return &commandError{exitUnavailable, err}
	}
	return &commandError{exitRefused, err}
}

// get decodes a response, and returns its body, too.
func (c *adminClient) get(method, path string, query url.Values, body []byte, into any) (json.RawMessage, error) {
	resp, err := c.ask(method, path, query, body, http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err != nil {
		return nil, &commandError{exitUnavailable, fmt.Errorf("reading the answer of the admin endpoint: %w", err)}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("the answer of the admin endpoint is not the JSON that was expected; is it another version?")
	}
	return text, nil
}

// shownSession is what the commands read of a session.
type shownSession struct {
	ID              string           `json:"id"`
	IssuedAt        time.Time        `json:"issued_at"`
	AuthenticatedAt time.Time        `json:"authenticated_at"`
	ExpiresAt       time.Time        `json:"expires_at"`
	LastUsedAt      *time.Time       `json:"last_used_at"`
	Methods         []web.WireMethod `json:"authentication_methods"`
	Identity        web.WireIdentity `json:"identity"`
	Devices         []web.WireDevice `json:"devices"`
}

// device names the browser or the app of the sign-in.
func (s *shownSession) device() string {
	if len(s.Devices) == 0 || s.Devices[0].UserAgent == nil {
		return "-"
	}
	name, _ := signout.BrowserName(new(pages.Set), *s.Devices[0].UserAgent)
	return name
}

// from is the client's address at the sign-in.
func (s *shownSession) from() string {
	if len(s.Devices) == 0 || s.Devices[0].IPAddress == "" {
		return "-"
	}
	return s.Devices[0].IPAddress
}

func (s *shownSession) method() string {
	if len(s.Methods) == 0 {
		return "-"
	}
	return s.Methods[0].Method
}

// shownPage is what the commands read of a page; each session also as it came.
type shownPage struct {
	Sessions []shownSession
	Raw      []json.RawMessage
}

// list reads all pages.
func (c *adminClient) list(identity string) (shownPage, error) {
	all := shownPage{Sessions: []shownSession{}, Raw: []json.RawMessage{}}
	query := url.Values{"identity": {identity}, "page_size": {strconv.Itoa(signout.DefaultPageSize)}}
	for {
		var page struct {
			Sessions      []json.RawMessage `json:"sessions"`
			NextPageToken string            `json:"next_page_token"`
		}
		if _, err := c.get(http.MethodGet, "/sessions", query, nil, &page); err != nil {
			return all, err
		}
		for _, raw := range page.Sessions {
			var s shownSession
			if err := json.Unmarshal(raw, &s); err != nil {
				return all, fmt.Errorf("a session in the answer of the admin endpoint cannot be read")
			}
			all.Sessions, all.Raw = append(all.Sessions, s), append(all.Raw, raw)
		}
		if page.NextPageToken == "" {
			return all, nil
		}
		query.Set("page_token", page.NextPageToken)
	}
}
