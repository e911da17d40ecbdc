// This file lets Ory's published Go client sign in and out against a running
// Caddy, which the environment names.

package ory_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ory "github.com/ory/client-go"
)

func fromEnv(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: it says what to test against", name)
	}
	return value
}

// newClient returns a client with a cookie jar of its own: one browser, or one
// app. It follows no redirect, so that a 303 cannot pass for a success.
func newClient(t *testing.T) ory.FrontendAPI {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := ory.NewConfiguration()
	cfg.Servers = ory.ServerConfigurations{{URL: fromEnv(t, "CADDY_LOGOUT_URL")}}
	cfg.HTTPClient = &http.Client{
		Jar:     jar,
		Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return ory.NewAPIClient(cfg).FrontendAPI
}

func signInNative(t *testing.T, api ory.FrontendAPI) (string, ory.Session) {
	t.Helper()
	ctx := t.Context()
	flow, _, err := api.CreateNativeLoginFlow(ctx).Execute()
	if err != nil {
		t.Fatalf("create native login flow: %v", err)
	}
	got, _, err := api.UpdateLoginFlow(ctx).Flow(flow.Id).UpdateLoginFlowBody(credentials(t, nil)).Execute()
	if err != nil {
		t.Fatalf("submit native login flow: %v", err)
	}
	if !strings.HasPrefix(got.GetSessionToken(), "ory_st_") {
		t.Fatalf("session token is %q", got.GetSessionToken())
	}
	return got.GetSessionToken(), got.Session
}

func signInBrowser(t *testing.T, api ory.FrontendAPI) ory.Session {
	t.Helper()
	ctx := t.Context()
	flow, _, err := api.CreateBrowserLoginFlow(ctx).Execute()
	if err != nil {
		t.Fatalf("create browser login flow: %v", err)
	}
	var csrf *string
	for _, node := range flow.Ui.Nodes {
		if in := node.Attributes.UiNodeInputAttributes; in != nil && in.Name == "csrf_token" {
			if value, ok := in.Value.(string); ok {
				csrf = &value
			}
		}
	}
	if csrf == nil {
		t.Fatal("the login flow has no csrf_token")
	}
	got, _, err := api.UpdateLoginFlow(ctx).Flow(flow.Id).UpdateLoginFlowBody(credentials(t, csrf)).Execute()
	if err != nil {
		t.Fatalf("submit browser login flow: %v", err)
	}
	if got.SessionToken != nil {
		t.Error("a browser's script must not see the credential")
	}
	return got.Session
}

func credentials(t *testing.T, csrf *string) ory.UpdateLoginFlowBody {
	t.Helper()
	body := ory.NewUpdateLoginFlowWithPasswordMethod(
		fromEnv(t, "CADDY_LOGOUT_ACCOUNT"), "password", fromEnv(t, "CADDY_LOGOUT_PASSWORD"))
	body.CsrfToken = csrf
	return ory.UpdateLoginFlowWithPasswordMethodAsUpdateLoginFlowBody(body)
}

// status checks the answer of a call that has to succeed with want.
func status(t *testing.T, what string, resp *http.Response, err error, want int) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s: status %d, want %d", what, resp.StatusCode, want)
	}
}

// refused checks that a call failed with want and an error envelope with an id,
// which it returns.
func refused(t *testing.T, what string, resp *http.Response, err error, want int) string {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: succeeded, want status %d", what, want)
	}
	if resp == nil || resp.StatusCode != want {
		t.Fatalf("%s: %v, want status %d", what, err, want)
	}
	var api *ory.GenericOpenAPIError
	if !errors.As(err, &api) {
		t.Fatalf("%s: error is a %T: %v", what, err, err)
	}
	var envelope struct {
		Error struct {
			ID   string `json:"id"`
			Code int    `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(api.Body(), &envelope); err != nil {
		t.Fatalf("%s: body %q: %v", what, api.Body(), err)
	}
	if envelope.Error.Code != want || envelope.Error.ID == "" {
		t.Fatalf("%s: body %q, want code %d and an id", what, api.Body(), want)
	}
	return envelope.Error.ID
}

func TestNativeClientSignsInAndOut(t *testing.T) {
	api, ctx := newClient(t), t.Context()
	token, session := signInNative(t, api)

	mine, _, err := api.ToSession(ctx).XSessionToken(token).Execute()
	if err != nil {
		t.Fatalf("to session: %v", err)
	}
	switch {
	case mine.Id != session.Id:
		t.Errorf("id %q, want %q", mine.Id, session.Id)
	case !mine.GetActive():
		t.Error("session is not active")
	case mine.GetAuthenticatorAssuranceLevel() != ory.AUTHENTICATORASSURANCELEVEL_AAL1:
		t.Errorf("assurance level %q", mine.GetAuthenticatorAssuranceLevel())
	case len(mine.AuthenticationMethods) != 1 || mine.AuthenticationMethods[0].GetMethod() != "password":
		t.Errorf("authentication methods %+v", mine.AuthenticationMethods)
	case mine.Identity == nil || mine.Identity.Traits == nil:
		t.Errorf("identity %+v", mine.Identity)
	case !mine.GetExpiresAt().After(time.Now()):
		t.Errorf("expires at %v", mine.GetExpiresAt())
	case len(mine.Devices) != 1:
		t.Errorf("devices %+v", mine.Devices)
	}

	logout := func(token string) (*http.Response, error) {
		return api.PerformNativeLogout(ctx).PerformNativeLogoutBody(*ory.NewPerformNativeLogoutBody(token)).Execute()
	}
	resp, err := logout(token)
	status(t, "native logout", resp, err, http.StatusNoContent)
	_, resp, err = api.ToSession(ctx).XSessionToken(token).Execute()
	refused(t, "to session after logout", resp, err, http.StatusUnauthorized)
	resp, err = logout(token)
	status(t, "second native logout", resp, err, http.StatusNoContent)
	resp, err = logout("ory_st_unknown")
	refused(t, "native logout with an unknown token", resp, err, http.StatusForbidden)
}

func TestBrowserSignsInAndOut(t *testing.T) {
	api, ctx := newClient(t), t.Context()
	session := signInBrowser(t, api)
	mine, _, err := api.ToSession(ctx).Execute()
	if err != nil || mine.Id != session.Id {
		t.Fatalf("to session: %+v, %v; want id %s", mine, err, session.Id)
	}

	flow, _, err := api.CreateBrowserLogoutFlow(ctx).Execute()
	if err != nil {
		t.Fatalf("create logout flow: %v", err)
	}
	u, err := url.Parse(flow.LogoutUrl)
	if err != nil || u.Path != "/self-service/logout" || u.Query().Get("token") != flow.LogoutToken {
		t.Errorf("logout URL %q, logout token %q", flow.LogoutUrl, flow.LogoutToken)
	}
	resp, err := api.UpdateLogoutFlow(ctx).Token(flow.LogoutToken).Execute()
	status(t, "submit logout", resp, err, http.StatusNoContent)
	_, resp, err = api.ToSession(ctx).Execute()
	refused(t, "to session after logout", resp, err, http.StatusUnauthorized)
	_, resp, err = api.CreateBrowserLogoutFlow(ctx).Execute()
	refused(t, "create after logout", resp, err, http.StatusUnauthorized)
}

func TestReturnToIsCheckedAndKept(t *testing.T) {
	api, ctx := newClient(t), t.Context()
	returnTo := fromEnv(t, "CADDY_LOGOUT_RETURN_TO")
	signInBrowser(t, api)
	flow, _, err := api.CreateBrowserLogoutFlow(ctx).ReturnTo(returnTo).Execute()
	if err != nil {
		t.Fatalf("create logout flow: %v", err)
	}
	if u, err := url.Parse(flow.LogoutUrl); err != nil || u.Query().Get("return_to") != returnTo {
		t.Errorf("logout URL %q does not keep return_to %q", flow.LogoutUrl, returnTo)
	}
	_, resp, err := api.CreateBrowserLogoutFlow(ctx).ReturnTo("https://evil.example/").Execute()
	if id := refused(t, "create with a foreign return_to", resp, err, http.StatusBadRequest); id != "self_service_flow_return_to_forbidden" {
		t.Errorf("error id %q", id)
	}
	resp, err = api.UpdateLogoutFlow(ctx).Token(flow.LogoutToken).ReturnTo("https://evil.example/").Execute()
	refused(t, "submit with a foreign return_to", resp, err, http.StatusBadRequest)
	if _, _, err := api.ToSession(ctx).Execute(); err != nil {
		t.Errorf("a refused return_to signed out: %v", err)
	}
	resp, err = api.UpdateLogoutFlow(ctx).Token(flow.LogoutToken).ReturnTo(returnTo).Execute()
	status(t, "submit with return_to", resp, err, http.StatusNoContent)
}

func TestLogoutTokenOfAnotherSessionIsRefused(t *testing.T) {
	one, two, ctx := newClient(t), newClient(t), t.Context()
	signInBrowser(t, one)
	signInBrowser(t, two)
	flow, _, err := one.CreateBrowserLogoutFlow(ctx).Execute()
	if err != nil {
		t.Fatalf("create logout flow: %v", err)
	}
	resp, err := two.UpdateLogoutFlow(ctx).Token(flow.LogoutToken).Execute()
	refused(t, "submit with another session's token", resp, err, http.StatusForbidden)
	for _, api := range []ory.FrontendAPI{one, two} {
		if _, _, err := api.ToSession(ctx).Execute(); err != nil {
			t.Errorf("a refused logout signed out: %v", err)
		}
	}
}

func TestSessionsOfOnePerson(t *testing.T) {
	api, ctx := newClient(t), t.Context()
	mine, session := signInNative(t, api)
	if _, _, err := api.DisableMyOtherSessions(ctx).XSessionToken(mine).Execute(); err != nil {
		t.Fatalf("disable other sessions: %v", err)
	}
	other, otherSession := signInNative(t, api)
	third, thirdSession := signInNative(t, api)

	want := []string{otherSession.Id, thirdSession.Id}
	slices.Sort(want)
	if got := listed(t, ctx, api, mine); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}

	resp, err := api.DisableMySession(ctx, otherSession.Id).XSessionToken(mine).Execute()
	status(t, "disable a session", resp, err, http.StatusNoContent)
	_, resp, err = api.ToSession(ctx).XSessionToken(other).Execute()
	refused(t, "the disabled session", resp, err, http.StatusUnauthorized)
	if _, _, err := api.ToSession(ctx).XSessionToken(third).Execute(); err != nil {
		t.Errorf("the third session: %v", err)
	}
	resp, err = api.DisableMySession(ctx, session.Id).XSessionToken(mine).Execute()
	refused(t, "disable the current session", resp, err, http.StatusBadRequest)

	count, _, err := api.DisableMyOtherSessions(ctx).XSessionToken(mine).Execute()
	if err != nil || count.GetCount() != 1 {
		t.Errorf("disable other sessions: %+v, %v; want a count of 1", count, err)
	}
	_, resp, err = api.ToSession(ctx).XSessionToken(third).Execute()
	refused(t, "the third session", resp, err, http.StatusUnauthorized)
	if got := listed(t, ctx, api, mine); len(got) != 0 {
		t.Errorf("listed %v, want none", got)
	}
	if _, _, err := api.ToSession(ctx).XSessionToken(mine).Execute(); err != nil {
		t.Errorf("the current session: %v", err)
	}
}

func listed(t *testing.T, ctx context.Context, api ory.FrontendAPI, token string) []string {
	t.Helper()
	sessions, _, err := api.ListMySessions(ctx).XSessionToken(token).Execute()
	if err != nil {
		t.Fatalf("list sessions: %v", err)
	}
	var ids []string
	for _, s := range sessions {
		ids = append(ids, s.Id)
	}
	slices.Sort(ids)
	return ids
}

func TestStrangersAreRefused(t *testing.T) {
	api, ctx := newClient(t), t.Context()
	_, resp, err := api.ToSession(ctx).Execute()
	refused(t, "to session", resp, err, http.StatusUnauthorized)
	_, resp, err = api.ListMySessions(ctx).Execute()
	refused(t, "list sessions", resp, err, http.StatusUnauthorized)
	_, resp, err = api.DisableMyOtherSessions(ctx).Execute()
	refused(t, "disable other sessions", resp, err, http.StatusUnauthorized)
	resp, err = api.DisableMySession(ctx, "00000000-0000-8000-8000-000000000000").Execute()
	refused(t, "disable a session", resp, err, http.StatusUnauthorized)
	_, resp, err = api.CreateBrowserLogoutFlow(ctx).Execute()
	refused(t, "create a logout flow", resp, err, http.StatusUnauthorized)
}
