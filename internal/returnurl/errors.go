package returnurl

import (
	"errors"
	"fmt"
)

// Errors of a refused return URL. They never hold the URL, which a client
// chose.
var (
	// ErrMalformed says that it is no http or https URL, or one that two
	// readers could understand in two ways.
	ErrMalformed = errors.New("return URL is malformed")
	// ErrForbidden says that no rule allows the address.
	ErrForbidden = errors.New("return URL is not allowed")

	ErrLength     = fmt.Errorf("%w: too long", ErrMalformed)
	ErrCharacters = fmt.Errorf("%w: characters", ErrMalformed)
	ErrScheme     = fmt.Errorf("%w: scheme", ErrMalformed)
	ErrAuthority  = fmt.Errorf("%w: authority", ErrMalformed)
)

// Rules are the rules that refuse, by the names under which they are counted.
// All other refusals are RuleAmbiguous: not a URL, or readable as two.
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

// RuleAmbiguous is the rule of all other refusals.
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
