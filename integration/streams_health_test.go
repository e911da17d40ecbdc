package integration_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCutRequestIsNotTheAppsFault has the app take its time when the session
// ends: to a proxy that looks after the health of the app, this is as if the
// client had gone. Else a client could make the app unavailable for all others
// by signing out.
func TestCutRequestIsNotTheAppsFault(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app/slow" {
			close(arrived)
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "here")
	}))
	t.Cleanup(app.Close)
	s := startWith(t, embeddedStore, "handle /app/* {\n session_auth\n reverse_proxy "+app.URL+" {\n fail_duration 1h\n max_fails 1\n }\n }")
	token, other := signIn(t, s), signIn(t, s)
	answered := make(chan answer, 1)
	go func() {
		a, err := tryCall(t, "GET", s.URL("/app/slow"), "", "X-Session-Token: "+token)
		if err != nil {
			a.body = err.Error()
		}
		answered <- a
	}()
	select {
	case <-arrived:
	case a := <-answered:
		t.Fatalf("answered before the app was asked: %d %s", a.status, a.body)
	}
	if a := call(t, "DELETE", s.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != 204 {
		t.Fatalf("logout: %d", a.status)
	}
	if a := <-answered; a.status >= 500 {
		t.Errorf("the request that was cut: %d, which says that the app has failed", a.status)
	}
	if a := call(t, "GET", s.URL("/app/page"), "", "X-Session-Token: "+other); a.status != 200 || a.body != "here" {
		t.Errorf("somebody else, afterwards: %d %.60q", a.status, a.body)
	}
}
