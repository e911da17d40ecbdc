package manager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// IssueRequest is what asks for a session: in the header of a trusted app, and
// in the body of a request to the admin endpoint.
type IssueRequest struct {
	Identity string          `json:"identity"`
	Traits   json.RawMessage `json:"traits,omitempty"`
	// Lifespan is a duration like "1h" or "7d". Default: the app's lifespan.
	Lifespan string `json:"lifespan,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. Each name may stand once, and as it is
// written here: of two identities one reader takes the first and another the last,
// and an app that pastes a name into its JSON could be made to name another person.
func (q *IssueRequest) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return errors.New("want an object")
	}
	fields := map[string]any{"identity": &q.Identity, "traits": &q.Traits, "lifespan": &q.Lifespan}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		to := fields[name.(string)] // what the decoder calls a name is one
		if to == nil {
			return fmt.Errorf("unknown field %q, or given twice", name)
		}
		delete(fields, name.(string))
		if err := decoder.Decode(to); err != nil {
			return err
		}
	}
	return nil
}

// Session checks the request and says what session it asks for.
func (q *IssueRequest) Session(method string) (NewSession, error) {
	n := NewSession{Identity: q.Identity, Traits: q.Traits, Method: method}
	if q.Lifespan != "" {
		lifespan, err := caddy.ParseDuration(q.Lifespan)
		if err != nil || lifespan <= 0 {
			return n, fmt.Errorf("%w: lifespan: want a duration like 1h, 30m or 7d", ErrInvalidSession)
		}
		n.Lifespan = lifespan.Round(time.Second)
	}
	return n, n.Validate()
}
