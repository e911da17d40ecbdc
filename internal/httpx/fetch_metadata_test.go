package httpx

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestSpeculative(t *testing.T) {
	for _, test := range []struct {
		name, header, value string
		want                bool
	}{
		{"prefetch", "Sec-Purpose", "prefetch", true},
		{"prerender", "Sec-Purpose", "prefetch;prerender", true},
		{"prefetch through a proxy", "Sec-Purpose", "prefetch;anonymous-client-ip", true},
		{"prerender alone, in upper case", "Sec-Purpose", "PRERENDER", true},
		{"another purpose", "Sec-Purpose", "prefetching", false},
		{"an empty purpose", "Sec-Purpose", "", false},
		{"old Chrome", "Purpose", "prefetch", true},
		{"old Safari", "X-Purpose", "preview", true},
		{"old Firefox", "X-Moz", "prefetch", true},
		{"a header of another meaning", "X-Reason", "prefetch", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{test.header: {test.value}}}
			if got := Speculative(r); got != test.want {
				t.Errorf("speculative = %t", got)
			}
		})
	}
	if !Speculative(&http.Request{Header: http.Header{"Sec-Purpose": {"x", "prefetch"}}}) {
		t.Error("the second line is not read")
	}
}

func TestEarlyData(t *testing.T) {
	for _, test := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"no TLS", &http.Request{}, false},
		{"TLS", &http.Request{TLS: &tls.ConnectionState{HandshakeComplete: true}}, false},
		{"handshake under way", &http.Request{TLS: &tls.ConnectionState{}}, true},
		{"a proxy says so", &http.Request{Header: http.Header{"Early-Data": {"1"}}}, true},
		{"a proxy says something else", &http.Request{Header: http.Header{"Early-Data": {"0"}}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := EarlyData(test.r); got != test.want {
				t.Errorf("earlyData = %t", got)
			}
		})
	}
}

func TestEarlyDataIsNotEveryTLSRequest(t *testing.T) {
	early := make(chan bool, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { early <- EarlyData(r) }))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if <-early {
		t.Error("a request over a finished handshake counts as early data")
	}
}

func TestCrossSite(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		want   bool
	}{
		{"no browser", http.Header{}, false},
		{"same origin", http.Header{"Sec-Fetch-Site": {"same-origin"}}, false},
		{"the user himself", http.Header{"Sec-Fetch-Site": {"none"}}, false},
		{"a sibling", http.Header{"Sec-Fetch-Site": {"same-site"}}, true},
		{"a stranger", http.Header{"Sec-Fetch-Site": {"cross-site"}}, true},
		{"unknown", http.Header{"Sec-Fetch-Site": {"Same-Origin"}}, true},
		{"empty", http.Header{"Sec-Fetch-Site": {""}}, true},
		{"two that agree", http.Header{"Sec-Fetch-Site": {"same-origin", "same-origin"}}, false},
		{"two that disagree", http.Header{"Sec-Fetch-Site": {"same-origin", "none"}}, true},
		{"fetch metadata before Origin", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://evil.example"}}, false},
		{"fetch metadata before Origin, strange", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example.com"}}, true},
		{"origin", http.Header{"Origin": {"https://app.example.com"}}, false},
		{"origin, written otherwise", http.Header{"Origin": {"HTTPS://App.example.com:443"}}, false},
		{"origin of another scheme", http.Header{"Origin": {"http://app.example.com"}}, true},
		{"origin of another port", http.Header{"Origin": {"https://app.example.com:8443"}}, true},
		{"origin of another host", http.Header{"Origin": {"https://app.example.com.evil.example"}}, true},
		{"origin null", http.Header{"Origin": {"null"}}, true},
		{"origin empty", http.Header{"Origin": {""}}, true},
		{"origins that disagree", http.Header{"Origin": {"https://app.example.com", "https://evil.example"}}, true},
		{"origin before referrer", http.Header{"Origin": {"https://evil.example"}, "Referer": {"https://app.example.com/"}}, true},
		{"referrer", http.Header{"Referer": {"https://app.example.com/a?b=100%"}}, false},
		{"referrer of another host", http.Header{"Referer": {"https://evil.example/https://app.example.com/"}}, true},
		{"referrer with user info", http.Header{"Referer": {"https://app.example.com@evil.example/"}}, true},
		{"referrer without a scheme", http.Header{"Referer": {"//app.example.com/"}}, true},
		{"referrer without a host", http.Header{"Referer": {"/app.example.com/"}}, true},
		{"referrer of a host called https", http.Header{"Referer": {"https://https/"}}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := CrossSite(&http.Request{Header: test.header}, "https://app.example.com"); got != test.want {
				t.Errorf("crossSite = %t", got)
			}
		})
	}
	for base, want := range map[string]bool{"http://localhost:8080": false, "http://localhost": true, "https://https": true, "": true} {
		r := &http.Request{Header: http.Header{"Origin": {"http://localhost:8080"}}}
		if got := CrossSite(r, base); got != want {
			t.Errorf("crossSite with base %q = %t", base, got)
		}
	}
	if CrossSite(&http.Request{Header: http.Header{"Referer": {"http://http/x"}}}, "http://http") {
		t.Error("the host is not found where it looks like the scheme")
	}
}
