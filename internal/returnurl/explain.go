package returnurl

import (
	"errors"
	"fmt"
	"strings"
)

// Verdict is the result for a return URL.
type Verdict struct {
	URL string `json:"url"`
	// Base is the address on which it is asked for.
	Base     string `json:"base"`
	Accepted bool   `json:"accepted"`
	// Rule accepts it, or refuses it.
	Rule string `json:"rule"`
	// Location is where the browser goes, if it is accepted.
	Location string `json:"location,omitempty"`
}

// Explain calls check, and says which of its rules decided. configured is base_url, empty
// if there is none.
func (u *Policy) Explain(raw, base, configured string) Verdict {
	v := Verdict{URL: raw, Base: base}
	location, err := u.Check(raw, base)
	switch {
	case errors.Is(err, ErrForbidden):
		v.Rule = "refused: it is on another host, and no entry of allowed_return_urls covers it"
		return v
	case err != nil:
		v.Rule = "refused: not an http or https URL that every browser and server reads alike"
		return v
	}
	v.Accepted, v.Location = true, location
	own := parseBase(base)
	candidate, err := parse(location, own)
	switch {
	case raw == "":
		v.Rule = "default_return_url, as none is asked for"
	case err == nil && sameOrigin(candidate, own):
		v.Rule = "same scheme, host and port as the request"
		if strings.TrimSuffix(configured, "/") == base {
			v.Rule = "same scheme, host and port as base_url"
		}
	case location == u.fallback:
		v.Rule = "default_return_url"
	default:
		for i := range u.allowed {
			if err == nil && u.allowed[i].allows(candidate) {
				v.Rule = fmt.Sprintf("allowed_return_urls, entry %d: %s", i+1, u.entries[i])
				break
			}
		}
	}
	return v
}
