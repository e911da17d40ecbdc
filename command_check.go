// This file holds the subcommand that says what a configuration does.

package caddylogout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// checkAnswer is what check prints as JSON.
type checkAnswer struct {
	Routes   []listedRoute       `json:"routes,omitempty"`
	Requests []requestVerdict    `json:"requests,omitempty"`
	ReturnTo []returnurl.Verdict `json:"return_to,omitempty"`
}

// errReturnURLRefused makes the exit status say that a return URL is refused.
var errReturnURLRefused = &commandError{exitRefused, errors.New("a return URL is refused")}

func cmdCheck(flags caddycmd.Flags) error {
	header, err := flags.GetStringArray("header")
	if err != nil {
		return err
	}
	requests, err := flags.GetStringArray("request")
	if err != nil {
		return err
	}
	returnTo, err := flags.GetStringArray("return-to")
	if err != nil {
		return err
	}
	if len(header) > 0 && len(requests) == 0 {
		return errors.New("--header goes with --request")
	}
	config, _, _, err := caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
	if err != nil {
		return err
	}
	if len(config) == 0 {
		return errors.New("there is no configuration: want --config, or a Caddyfile in this folder")
	}
	c, err := newChecker(config)
	if err != nil {
		return err
	}
	defer c.close()
	answer, err := c.answer(requests, header, returnTo)
	if err != nil {
		return err
	}
	if flags.Bool("json") {
		err = printJSON(answer)
	} else {
		err = answer.print()
	}
	if err != nil {
		return err
	}
	for _, v := range answer.ReturnTo {
		if !v.Accepted {
			return errReturnURLRefused
		}
	}
	return nil
}

// answer answers what was asked, or lists the routes if nothing was.
func (c *checker) answer(requests, header, returnTo []string) (checkAnswer, error) {
	var out checkAnswer
	if len(requests)+len(returnTo) == 0 {
		out.Routes = c.routes()
	}
	for _, line := range requests {
		v, err := c.request(line, header)
		if err != nil {
			return out, err
		}
		out.Requests = append(out.Requests, v)
	}
	bases, err := c.bases(requests, header)
	if err != nil {
		return out, err
	}
	for _, raw := range returnTo {
		for _, base := range bases {
			out.ReturnTo = append(out.ReturnTo, c.app.ReturnURLs.Explain(raw, base, c.app.BaseURL))
		}
	}
	return out, nil
}

// bases are the addresses on which a return URL may be asked for: base_url, or
// those of the requests, or all sites.
func (c *checker) bases(requests, header []string) ([]string, error) {
	if c.app.BaseURL != "" {
		return []string{c.app.BaseURL}, nil
	}
	var bases []string
	for _, line := range requests {
		r, err := parseRequest(line, header)
		if err != nil {
			return nil, err
		}
		bases = append(bases, httpx.RequestOrigin(r))
	}
	if slices.Sort(bases); len(bases) > 0 {
		return slices.Compact(bases), nil
	}
	if bases = c.origins(); len(bases) == 0 {
		bases = []string{"http://localhost"} // a site of all hosts
	}
	return bases, nil
}

// print prints tables.
func (a *checkAnswer) print() error {
	var tables [][][]string
	if a.Routes != nil {
		rows := [][]string{{"SERVER", "REQUESTS", "DIRECTIVE", "VERDICT"}}
		for _, route := range a.Routes {
			rows = append(rows, route.rows()...)
		}
		tables = append(tables, rows)
	}
	if a.Requests != nil {
		rows := [][]string{{"REQUEST", "VERDICT", "WITHOUT A SESSION", "WITH ONE"}}
		for _, v := range a.Requests {
			rows = append(rows, []string{v.Request, v.Verdict, v.WithoutSession.String(), v.WithSession.String()})
		}
		tables = append(tables, rows)
	}
	if a.ReturnTo != nil {
		rows := [][]string{{"RETURN URL", "ASKED FOR ON", "ACCEPTED", "RULE"}}
		for _, v := range a.ReturnTo {
			accepted := "no"
			if v.Accepted {
				accepted = "yes"
			}
			rows = append(rows, []string{v.URL, v.Base, accepted, v.Rule})
		}
		tables = append(tables, rows)
	}
	for i, rows := range tables {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := printTable(rows[0], rows[1:]); err != nil {
			return err
		}
	}
	return nil
}

// rows are the lines of a route, one for each path.
func (r listedRoute) rows() [][]string {
	match := strings.Join(r.Match, ", ")
	if match == "" {
		match = "all"
	}
	verdict := r.Verdict
	if len(r.Gates) > 0 {
		verdict += ", and gated for " + strings.Join(r.Gates, "; ")
	}
	if r.Directive == "session_auth" && r.Verdict == verdictOpen {
		verdict = "optional gate"
	}
	if len(r.Paths) == 0 {
		return [][]string{{r.Server, match, r.Directive, verdict}}
	}
	rows := make([][]string, 0, len(r.Paths))
	for _, path := range r.Paths {
		rows = append(rows, []string{r.Server, match, r.Directive, verdict + " " + path})
	}
	return rows
}

// String says in words what a request gets.
func (a requestAnswer) String() string {
	by := a.By
	if by == "" {
		by = "nobody"
	}
	switch {
	case a.Status == 0:
		return "goes to " + by
	case a.Location != "":
		return fmt.Sprintf("%d to %s, by %s", a.Status, a.Location, by)
	}
	return fmt.Sprintf("%d, by %s", a.Status, by)
}
