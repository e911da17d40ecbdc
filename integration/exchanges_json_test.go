package integration_test

import (
	"encoding/json"
	"maps"
	"slices"
)

// canonical sorts the keys of JSON; other text it leaves alone.
func canonical(body string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	return marshal(v)
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON a moment ago
	}
	return string(b)
}

// Keys of a session that clients read. The original has more: addresses,
// metadata and times of an identity management that is no business of ours.
var (
	sessionKeys = []string{
		"id", "active", "expires_at", "authenticated_at", "authenticator_assurance_level",
		"authentication_methods", "issued_at", "identity", "devices",
	}
	identityKeys = []string{"id", "schema_id", "schema_url", "state", "traits"}
	deviceKeys   = []string{"id", "ip_address", "user_agent", "location"}
)

// keepWhatMatters reduces a session in a body to the keys above.
func keepWhatMatters(body string) string {
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	reduceSession(v)
	if inner, ok := v["session"].(map[string]any); ok {
		reduceSession(inner)
	}
	return marshal(v)
}

func reduceSession(v map[string]any) {
	if _, ok := v["issued_at"]; !ok {
		return
	}
	keep(v, sessionKeys)
	if identity, ok := v["identity"].(map[string]any); ok {
		keep(identity, identityKeys)
		named(identity, "id", "<identity>")
		named(identity, "schema_url", "<url>")
	}
	devices, _ := v["devices"].([]any)
	for _, d := range devices {
		if device, ok := d.(map[string]any); ok {
			keep(device, deviceKeys)
			named(device, "ip_address", "<address>")
		}
	}
}

func keep(v map[string]any, keys []string) {
	maps.DeleteFunc(v, func(k string, _ any) bool { return !slices.Contains(keys, k) })
}

// named puts a name in place of a string that is there and not empty.
func named(v map[string]any, key, name string) {
	if s, ok := v[key].(string); ok && s != "" {
		v[key] = name
	}
}
