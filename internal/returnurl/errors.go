// This file holds the rules by which return URLs are refused, by their names.

package returnurl

import (
	"errors"
	"fmt"
)

// Why a return URL was refused. Neither carries the URL, which a client chose.
var (
	// ErrMalformed says that it is no http or https URL, or one that two
	// readers could understand in two ways.
	ErrMalformed = errors.New("return URL is malformed")
	// ErrForbidden says that it leads to where nobody allowed it to lead.
	ErrForbidden = errors.New("return URL is not allowed")

	ErrLength     = fmt.Errorf("%w: too long", ErrMalformed)
	ErrCharacters = fmt.Errorf("%w: characters", ErrMalformed)
	ErrScheme     = fmt.Errorf("%w: scheme", ErrMalformed)
	ErrAuthority  = fmt.Errorf("%w: authority", ErrMalformed)
)

// Rules are the rules that refuse, by the names under which they are
// counted. What none of them names is RuleAmbiguous: not a URL, or two.
var Rules = []struct {
	Name string
	err  error
}{
	{"not_allowed", ErrForbidden},
	{"length", ErrLength},
	{"characters", ErrCharacters},
	{"scheme", ErrScheme},
	{"authority", ErrAuthority},
}

// RuleAmbiguous is the rule of what no other one names.
const RuleAmbiguous = "ambiguous"

// RuleOf names the rule that refused.
func RuleOf(err error) string {
	for _, rule := range Rules {
		if errors.Is(err, rule.err) {
			return rule.Name
		}
	}
	return RuleAmbiguous
}

// MaxLength bounds a return URL in bytes, before and after normalisation, so
// that what was accepted once is accepted again when it comes back in the query
// of a logout URL.
const MaxLength = 2048
