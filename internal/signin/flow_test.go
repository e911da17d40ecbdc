package signin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/web"
)

func TestLoginFlowID(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)
	tests := []struct {
		name string
		age  time.Duration
		code int // 0: live
	}{
		{"new", 0, 0},
		{"59 minutes old", 59 * time.Minute, 0},
		{"an hour old", time.Hour, http.StatusGone},
		{"years old", 50 * 365 * 24 * time.Hour, http.StatusGone},
		{"of a clock that is a minute ahead", -time.Minute, 0},
		{"of a clock that is an hour ahead", -time.Hour, http.StatusGone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, api := range []bool{false, true} {
				made := NewFlow(api, now.Add(-test.age))
				read, err := parseFlow(made.ID, now)
				var refusal *web.Error
				switch {
				case test.code == 0 && (err != nil || read != made):
					t.Errorf("got %+v and %v, want %+v", read, err, made)
				case test.code != 0 && (!errors.As(err, &refusal) || refusal.Code != test.code):
					t.Errorf("error is %v, want one of code %d", err, test.code)
				}
			}
		})
	}
}

func TestLoginFlowToken(t *testing.T) {
	now := time.Now()
	f, other := NewFlow(false, now), NewFlow(false, now)
	const secret = "0123456789abcdef"
	token := f.CSRFToken(secret)
	if !f.csrfMatches(secret, token) || !f.csrfMatches(secret, f.CSRFToken(secret)) {
		t.Error("a token does not match its flow")
	}
	if token == f.CSRFToken(secret) {
		t.Error("two tokens of a flow are alike, so the page shows the same secret twice")
	}
	if f.csrfMatches("another", token) || other.csrfMatches(secret, token) || f.csrfMatches("", f.CSRFToken("")) {
		t.Error("a token matches another browser, another flow, or a browser without a secret")
	}
	for _, bad := range []string{"", "x", token[:87], token + "AAAA", strings.ToLower(token)} {
		if f.csrfMatches(secret, bad) {
			t.Errorf("%q matches", bad)
		}
	}
}

func FuzzLoginFlowID(f *testing.F) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Add(NewFlow(false, now).ID)
	f.Add(NewFlow(true, now).ID)
	f.Add("urn:uuid:86d30eba-d04d-407e-9c78-53fd0c8ca6e7")
	f.Fuzz(func(t *testing.T, id string) {
		flow, err := parseFlow(id, now)
		if err != nil {
			return
		}
		if flow.ID != id || len(id) != 36 || strings.ToLower(id) != id || now.Sub(flow.issuedAt) >= flowLifetime || flow.issuedAt.Sub(now) > flowSkew {
			t.Errorf("%q is taken for a live flow", id)
		}
	})
}

func FuzzLoginForm(f *testing.F) {
	f.Add("application/json", `{"method":"password","identifier":"a","password":"b","csrf_token":"c"}`)
	f.Add("application/json; charset=utf-8", `{"method":null}{}`)
	f.Add("application/x-www-form-urlencoded", "method=password&identifier=a&password=%zz")
	f.Add("multipart/form-data; boundary=x", "--x")
	f.Fuzz(func(t *testing.T, media, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/self-service/login", io.NopCloser(strings.NewReader(body)))
		r.Header = http.Header{"Content-Type": {media}}
		_, err := readForm(httptest.NewRecorder(), r)
		var refusal *web.Error
		if err != nil && (!errors.As(err, &refusal) || refusal.Code < 400 || refusal.Code > 499) {
			t.Errorf("error is %v, want one for the client", err)
		}
	})
}
