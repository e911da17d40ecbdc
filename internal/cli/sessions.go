package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/admin"
	"github.com/caddy-logout/caddy-logout/internal/manager"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// shownTime is how a table shows a time.
func shownTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func cmdList(flags caddycmd.Flags) error {
	c, err := newAdminClient(flags)
	if err != nil {
		return err
	}
	page, err := c.list(flags.String("identity"))
	if err != nil {
		return err
	}
	if flags.Bool("json") {
		return printJSON(map[string]any{"sessions": page.Raw})
	}
	if len(page.Sessions) == 0 {
		_, err := fmt.Fprintln(stderr, "no live sessions")
		return err
	}
	rows := make([][]string, 0, len(page.Sessions))
	for _, s := range page.Sessions {
		used := "-"
		if s.LastUsedAt != nil {
			used = shownTime(*s.LastUsedAt)
		}
		rows = append(rows, []string{s.ID, shownTime(s.IssuedAt), shownTime(s.ExpiresAt), used, s.from(), s.device()})
	}
	return printTable([]string{"SESSION", "SIGNED IN", "ENDS", "LAST USED", "FROM", "WITH"}, rows)
}

func cmdShow(flags caddycmd.Flags) error {
	c, err := newAdminClient(flags)
	if err != nil {
		return err
	}
	var s shownSession
	raw, err := c.get(http.MethodGet, "/sessions/"+url.PathEscape(flags.Arg(0)), url.Values{"identity": {flags.String("identity")}}, nil, &s)
	if err != nil {
		return err
	}
	if flags.Bool("json") {
		return printJSON(raw)
	}
	rows := [][]string{
		{"identity", s.Identity.ID},
		{"traits", string(s.Identity.Traits)},
		{"method", s.method()},
		{"signed in", shownTime(s.IssuedAt)},
		{"authenticated", shownTime(s.AuthenticatedAt)},
		{"ends", shownTime(s.ExpiresAt)},
		{"from", s.from()},
		{"with", s.device()},
	}
	if s.LastUsedAt != nil {
		rows = append(rows, []string{"last used", shownTime(*s.LastUsedAt)})
	}
	return printTable([]string{"session", s.ID}, rows)
}

func cmdRevoke(flags caddycmd.Flags) error {
	c, err := newAdminClient(flags)
	if err != nil {
		return err
	}
	all, id := flags.Bool("all"), flags.Arg(0)
	switch {
	case all && id != "":
		return errors.New("--all ends the sessions of everybody: it takes no session")
	case all && !flags.Bool("yes"):
		return &commandError{exitRefused, errors.New("--all signs everybody out: say so with --yes")}
	case all:
		return c.revokeAll(flags.Bool("json"))
	}
	path := "/sessions"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	var answer admin.Count
	if _, err := c.get(http.MethodDelete, path, url.Values{"identity": {flags.String("identity")}}, nil, &answer); err != nil {
		return err
	}
	return printCount(answer.Count, flags.Bool("json"))
}

func printCount(count int, asJSON bool) error {
	if asJSON {
		return printJSON(admin.Count{Count: count})
	}
	_, err := fmt.Fprintf(stdout, "%d sessions ended\n", count)
	return err
}

// revokeAll ends the sessions of everybody, and shows progress.
func (c *adminClient) revokeAll(asJSON bool) error {
	c.http.Timeout = 0
	resp, err := c.ask(http.MethodDelete, "/sessions", url.Values{"all": {"true"}}, nil, http.Header{"Accept": {admin.NDJSON}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	var line admin.Count
	for {
		next := admin.Count{}
		if err := lines.Decode(&next); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the answer ends too early")
			}
			return &commandError{exitUnavailable, fmt.Errorf("%d sessions were ended so far, and Caddy may be ending more: %w", line.Count, err)}
		}
		switch line = next; {
		case line.Error != "":
			return &commandError{exitUnavailable, fmt.Errorf("%d sessions were ended, others were not: %s", line.Count, printable(line.Error))}
		case line.Done:
			return printCount(line.Count, asJSON)
		}
		fmt.Fprintf(stderr, "%d sessions ended so far\n", line.Count)
	}
}

func cmdIssue(flags caddycmd.Flags) error {
	q := manager.IssueRequest{Identity: flags.String("identity"), Lifespan: flags.String("lifespan")}
	if traits := flags.String("traits"); traits != "" {
		if !json.Valid([]byte(traits)) {
			return errors.New("--traits: not valid JSON")
		}
		q.Traits = json.RawMessage(traits)
	}
	if _, err := q.Session("token"); err != nil {
		return err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	c, err := newAdminClient(flags)
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if _, err := c.get(http.MethodPost, "/sessions", nil, body, &answer); err != nil {
		return err
	}
	return printJSON(answer)
}

func cmdUnblock(flags caddycmd.Flags) error {
	c, err := newAdminClient(flags)
	if err != nil {
		return err
	}
	query := url.Values{}
	for parameter, flag := range map[string]string{"account": "account", "address": "client"} {
		if value := flags.String(flag); value != "" {
			query.Set(parameter, value)
		}
	}
	var answer struct {
		Lifted int `json:"lifted"`
	}
	if _, err := c.get(http.MethodDelete, "/sessions/blocks", query, nil, &answer); err != nil {
		return err
	}
	if flags.Bool("json") {
		return printJSON(answer)
	}
	_, err = fmt.Fprintf(stdout, "%d blocks lifted\n", answer.Lifted)
	return err
}
