package session_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/session"
)

// TestCredentialIsNotShown prints and marshals a credential in all ways that logs, errors
// and configurations use.
func TestCredentialIsNotShown(t *testing.T) {
	secret := session.NewToken()
	c := session.NewCredential(secret, session.FromBearer)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if shown := fmt.Sprintf(verb, []any{c, &c, struct{ C session.Credential }{c}}); strings.Contains(shown, secret) {
			t.Errorf("%s shows it: %s", verb, shown)
		}
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "XML": xml.Marshal} {
		if text, err := marshal(c); err != nil || strings.Contains(string(text), secret) {
			t.Errorf("%s shows it: %s, %v", name, text, err)
		}
	}
	if c.Secret() != secret {
		t.Error("it is not the same any more")
	}
}
