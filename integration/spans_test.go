package integration_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// collector keeps the spans that it is sent.
type collector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
	raw   strings.Builder
}

func newCollector(t *testing.T) (c *collector, addr string) {
	t.Helper()
	c = new(collector)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request coltrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return c, server.URL
}

// attributes are those of a span, as one word each.
func attributes(span *tracepb.Span) string {
	words := make(map[string]bool)
	for _, attribute := range span.GetAttributes() {
		words[attribute.GetKey()+"="+attribute.GetValue().GetStringValue()] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(words)), " ")
}

// TestSpans compares the spans with what was counted: each check that asked the
// store has one, below that of its request, and no other has.
func TestSpans(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	spans, addr := newCollector(t)
	s := start(t, serverOptions{
		caddyfile: strings.Replace(caddyfile(patient(redisStore(redis), "10s")), "\tlogout\n", "\ttracing\n\tlogout\n", 1),
		files:     map[string]string{"accounts.txt": accountsFile()},
		env:       []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + addr, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=100"},
	})
	browser, token := signInBrowser(t, s), signIn(t, s)
	logout := createLogout(t, s, browser, "")
	call(t, "GET", s.URL("/self-service/logout?token="+logout.Token+"x"), "", acceptBrowser, "Cookie: "+browser)
	call(t, "GET", logout.URL, "", acceptBrowser, "Cookie: "+browser)
	eventually(t, "checks that the near cache answers", func() bool {
		whoami(t, s, "X-Session-Token: "+token)
		return scrape(t, s)["near_cache_hits_total"] >= 3
	})
	whoami(t, s, "X-Session-Token: made-up")
	call(t, "DELETE", s.URL("/sessions?all=true"), "", acceptJSON, "X-Session-Token: "+token)
	counts := scrape(t, s)
	s.stop() // sends the last of them

	spans.mu.Lock()
	defer spans.mu.Unlock()
	byID := make(map[string]*tracepb.Span)
	for _, span := range spans.spans {
		byID[string(span.GetSpanId())] = span
	}
	// rootOf returns the span of the request.
	rootOf := func(span *tracepb.Span) *tracepb.Span {
		for len(span.GetParentSpanId()) > 0 {
			parent, ok := byID[string(span.GetParentSpanId())]
			if !ok {
				t.Fatalf("%s: its parent was not sent", span.GetName())
			}
			span = parent
		}
		return span
	}
	got := make(map[string]float64)
	for _, span := range spans.spans {
		switch span.GetName() {
		case "session check", "logout":
			got[span.GetName()+" "+attributes(span)]++
			if root := rootOf(span); root.GetName() != "handler" {
				t.Errorf("%s is below %s, not below its request", span.GetName(), root.GetName())
			}
			if span.GetEndTimeUnixNano() < span.GetStartTimeUnixNano() {
				t.Errorf("%s ends before it begins", span.GetName())
			}
		}
	}
	want := map[string]float64{
		"session check session.outcome=authenticated session.source=store": counts[`checks_total{outcome="authenticated",source="store"}`],
		"session check session.outcome=dead session.source=store":          counts[`checks_total{outcome="dead",source="store"}`],
		"logout session.outcome=refused session.trigger=browser":           1,
		"logout session.outcome=revoked session.trigger=browser":           1,
		"logout session.outcome=revoked session.trigger=sessions":          1,
	}
	if want["session check session.outcome=dead session.source=store"] == 0 {
		t.Error("no check asked the store")
	}
	maps.DeleteFunc(want, func(_ string, n float64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("the spans are\n%v\nwant\n%v", got, want)
	}
	for what, secret := range map[string]string{"the cookie": valueOf(t, browser, cookieName), "the token": token, "the logout token": logout.Token} {
		for _, span := range spans.spans {
			if name := span.GetName(); (name == "session check" || name == "logout") && strings.Contains(span.String(), secret) {
				t.Errorf("%s is in the span %s", what, name)
			}
		}
		if strings.Contains(spans.raw.String(), secret) {
			t.Errorf("%s is in the trace", what)
		}
	}
}
