package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// openAPI is the description, as YAML has it.
type openAPI struct {
	t    *testing.T
	root map[string]any
	seen map[string]bool // operation and status
}

func readOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := &openAPI{t: t, seen: make(map[string]bool)}
	if err := yaml.Unmarshal(text, &o.root); err != nil {
		t.Fatal(err)
	}
	return o
}

// at goes down the names, and follows references.
func (o *openAPI) at(node any, names ...string) map[string]any {
	o.t.Helper()
	for {
		m, ok := node.(map[string]any)
		if !ok {
			o.t.Fatalf("openapi.yaml: no %v", names)
		}
		switch ref, isRef := m["$ref"].(string); {
		case isRef:
			node = o.at(o.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		case len(names) == 0:
			return m
		default:
			node, names = m[names[0]], names[1:]
		}
	}
}

// ask sends a request and holds the answer against the description.
func (o *openAPI) ask(s *caddyServer, method, template, path, body string, status int, header ...string) answer {
	o.t.Helper()
	a := call(o.t, method, s.AdminURL(path), body, header...)
	if method == "GET" && status == 200 { // to read is to wait for a store that is slow
		eventually(o.t, path, func() bool {
			a = call(o.t, method, s.AdminURL(path), body, header...)
			return a.status != 503
		})
	}
	if a.status != status {
		o.t.Errorf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
		return a
	}
	o.seen[fmt.Sprintf("%s %s %d", strings.ToLower(method), template, status)] = true
	response := o.at(o.root, "paths", template, strings.ToLower(method), "responses", fmt.Sprint(status))
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	schema := o.at(response, "content", kind, "schema")
	if headers, ok := response["headers"].(map[string]any); ok {
		for name := range headers {
			if a.header.Get(name) == "" {
				o.t.Errorf("%s %s: %d without %s", method, path, status, name)
			}
		}
	}
	for line := range strings.Lines(a.body) {
		var value any
		if err := json.Unmarshal([]byte(line), &value); err != nil {
			o.t.Fatalf("%s %s: %v in %s", method, path, err, a.body)
		}
		o.valid(method+" "+path, schema, value)
	}
	return a
}

// valid holds a value against a schema, as far as this description goes.
func (o *openAPI) valid(where string, schema map[string]any, value any) {
	o.t.Helper()
	schema = o.at(schema)
	types, several := schema["type"].([]any)
	if !several {
		types = []any{schema["type"]}
	}
	if !slices.Contains(types, any(typeOf(value))) {
		o.t.Errorf("%s: %v is not of type %v", where, value, types)
		return
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		o.t.Errorf("%s: %v is none of %v", where, value, enum)
	}
	switch value := value.(type) {
	case []any:
		for i, one := range value {
			o.valid(fmt.Sprintf("%s[%d]", where, i), o.at(schema, "items"), one)
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				o.t.Errorf("%s: there is no %v", where, name)
			}
		}
		for name, one := range value {
			if property, ok := properties[name].(map[string]any); ok {
				o.valid(where+"."+name, property, one)
			} else if schema["additionalProperties"] == false {
				o.t.Errorf("%s: %s is not described", where, name)
			}
		}
	}
}

func typeOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func TestOpenAPIAnswers(t *testing.T) {
	t.Parallel()
	o := readOpenAPI(t)
	redis := redistest.Start(t)
	s := start(t, serverOptions{
		caddyfile: strings.Replace(caddyfile(patientRedis(redis)), "sessions {", "sessions {\n\t\tidle_timeout 1h", 1),
		files:     map[string]string{"accounts.txt": accountsFile()},
	})
	const one = "/sessions/{id}"
	signIn(t, s) // a session with a device
	of := "?identity=" + account
	body := `{"identity":"` + account + `","traits":{"email":"wire@example.test"},"lifespan":"1h"}`
	var issued struct {
		Session struct {
			ID string `json:"id"`
		} `json:"session"`
	}
	decode(t, o.ask(s, "POST", "/sessions", "/sessions", body, 201).body, &issued)
	o.ask(s, "POST", "/sessions", "/sessions", `{}`, 400)
	o.ask(s, "GET", "/sessions", "/sessions"+of, "", 200)
	o.ask(s, "GET", "/sessions", "/sessions"+of+"&page_size=1", "", 200)
	o.ask(s, "GET", "/sessions", "/sessions", "", 400)
	o.ask(s, "GET", one, "/sessions/"+issued.Session.ID+of, "", 200)
	o.ask(s, "GET", one, "/sessions/x"+of, "", 400)
	o.ask(s, "GET", one, "/sessions/00000000"+of, "", 404)
	o.ask(s, "DELETE", one, "/sessions/"+issued.Session.ID+of, "", 200)
	o.ask(s, "DELETE", one, "/sessions/"+issued.Session.ID+of, "", 404)
	o.ask(s, "DELETE", one, "/sessions/x"+of, "", 400)
	o.ask(s, "DELETE", "/sessions", "/sessions"+of, "", 200)
	o.ask(s, "DELETE", "/sessions", "/sessions?all=true", "", 200)
	o.ask(s, "DELETE", "/sessions", "/sessions?all=true", "", 200, "Accept: application/x-ndjson")
	o.ask(s, "DELETE", "/sessions", "/sessions", "", 400)
	o.ask(s, "DELETE", "/sessions/blocks", "/sessions/blocks?account=x", "", 200)
	o.ask(s, "DELETE", "/sessions/blocks", "/sessions/blocks", "", 400)
	o.ask(s, "GET", "/sessions/statistics", "/sessions/statistics", "", 200)
	o.ask(s, "GET", "/sessions/liveness", "/sessions/liveness", "", 200)
	eventually(t, "the node is ready", func() bool { return call(t, "GET", s.AdminURL("/sessions/readiness"), "").status == 200 })
	o.ask(s, "GET", "/sessions/readiness", "/sessions/readiness", "", 200)

	redis.Pause(t)
	o.ask(s, "GET", "/sessions", "/sessions"+of, "", 503)
	o.ask(s, "POST", "/sessions", "/sessions", body, 503)
	o.ask(s, "DELETE", "/sessions", "/sessions"+of, "", 503)
	o.ask(s, "GET", one, "/sessions/00000000"+of, "", 503)
	o.ask(s, "DELETE", one, "/sessions/00000000"+of, "", 503)
	o.ask(s, "GET", "/sessions/readiness", "/sessions/readiness", "", 503)
	o.ask(s, "GET", "/sessions/statistics", "/sessions/statistics", "", 200)
	redis.Resume(t)

	s.Reload("{\n}\n:" + s.port + " {\n\trespond ok\n}\n")
	o.ask(s, "GET", "/sessions", "/sessions"+of, "", 404)
	o.ask(s, "POST", "/sessions", "/sessions", body, 404)
	o.ask(s, "DELETE", "/sessions", "/sessions"+of, "", 404)
	o.ask(s, "GET", "/sessions/statistics", "/sessions/statistics", "", 404)
	o.ask(s, "GET", "/sessions/readiness", "/sessions/readiness", "", 404)

	// All that is described was asked for, but for what nobody can bring about.
	for template, operations := range o.at(o.root, "paths") {
		for method := range operations.(map[string]any) {
			if method == "parameters" {
				continue
			}
			for status := range o.at(operations, method, "responses") {
				if operation := method + " " + template + " " + status; !o.seen[operation] && status != "409" {
					t.Errorf("%s is described, and was not asked for", operation)
				}
			}
		}
	}
}
