// This file holds the rules by which return URLs are refused, by their names.

package caddylogout

import (
	"errors"
	"fmt"
)

// Why a return URL was refused. Neither carries the URL, which a client chose.
var (
	// errReturnURLMalformed says that it is no http or https URL, or one that two
	// readers could understand in two ways.
	errReturnURLMalformed = errors.New("return URL is malformed")
	// errReturnURLForbidden says that it leads to where nobody allowed it to lead.
	errReturnURLForbidden = errors.New("return URL is not allowed")

	errReturnURLLength     = fmt.Errorf("%w: too long", errReturnURLMalformed)
	errReturnURLCharacters = fmt.Errorf("%w: characters", errReturnURLMalformed)
	errReturnURLScheme     = fmt.Errorf("%w: scheme", errReturnURLMalformed)
	errReturnURLAuthority  = fmt.Errorf("%w: authority", errReturnURLMalformed)
)

// returnURLRules are the rules that refuse, by the names under which they are
// counted. What none of them names is ruleAmbiguous: not a URL, or two.
var returnURLRules = []struct {
	name string
	err  error
}{
	{"not_allowed", errReturnURLForbidden},
	{"length", errReturnURLLength},
	{"characters", errReturnURLCharacters},
	{"scheme", errReturnURLScheme},
	{"authority", errReturnURLAuthority},
}

const ruleAmbiguous = "ambiguous"

// returnURLRule names the rule that refused.
func returnURLRule(err error) string {
	for _, rule := range returnURLRules {
		if errors.Is(err, rule.err) {
			return rule.name
		}
	}
	return ruleAmbiguous
}
