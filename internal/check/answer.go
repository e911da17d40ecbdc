package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-logout/caddy-logout/internal/httpx"
	"github.com/caddy-logout/caddy-logout/internal/returnurl"
)

// Answer is what check prints as JSON.
type Answer struct {
	Routes   []listedRoute       `json:"routes,omitempty"`
	Requests []requestVerdict    `json:"requests,omitempty"`
	ReturnTo []returnurl.Verdict `json:"return_to,omitempty"`
}

// Answer answers the questions, or lists the routes if there are none.
func (c *Checker) Answer(requests, header, returnTo []string) (Answer, error) {
	var out Answer
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
			out.ReturnTo = append(out.ReturnTo, c.site.ReturnURLs.Explain(raw, base, c.site.BaseURL))
		}
	}
	return out, nil
}

// bases are the addresses on which a client may send a return URL: base_url, or those
// of the requests, or all sites.
func (c *Checker) bases(requests, header []string) ([]string, error) {
	if c.site.BaseURL != "" {
		return []string{c.site.BaseURL}, nil
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

// Tables are the answer for people: tables whose first row is their heading.
func (a *Answer) Tables() [][][]string {
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
	return tables
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
