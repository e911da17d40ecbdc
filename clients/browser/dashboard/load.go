// This file is the people in the picture: they sign in, look at pages, keep a
// stream open, and sign out in one way or another.

package main

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// people is how many there are at one time.
const people = 12

// startApp starts what is behind the gate: pages, and a stream that never ends.
func startApp() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/stream" && r.Context().Err() == nil {
			if _, err := io.WriteString(w, "data: tick\n\n"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			pause(r.Context(), 100*time.Millisecond)
		}
	}))
}

// live lets them live for a while, and freezes the store for a ninth of it.
func live(ctx context.Context, site string, length time.Duration, freeze func(bool) error) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			p := person{ctx: ctx, site: site, client: &http.Client{
				Transport:     &http.Transport{},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}}
			for ctx.Err() == nil {
				p.visit()
			}
		})
	}
	pause(ctx, length*5/9)
	if err := freeze(true); err != nil {
		return err
	}
	pause(ctx, length/9)
	err := freeze(false)
	all.Wait()
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

type person struct {
	ctx    context.Context //nolint:containedctx // the life of a person
	site   string
	client *http.Client
}

// call sends a request, and reads a JSON answer into v if there is one to read.
func (p *person) call(method, address, token string, body any, v any) {
	sent, _ := json.Marshal(body)
	r, err := http.NewRequestWithContext(p.ctx, method, address, strings.NewReader(string(sent)))
	if err != nil {
		return
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Cookie", "ory_kratos_session="+token)
		r.Header.Set("X-Session-Token", token)
	}
	res, err := p.client.Do(r)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	if v != nil {
		_ = json.NewDecoder(res.Body).Decode(v)
	}
	_, _ = io.Copy(io.Discard, res.Body)
}

// visit is one visit, from sign-in to sign-out.
func (p *person) visit() {
	pause(p.ctx, time.Duration(rand.IntN(2000))*time.Millisecond)
	p.mischief()
	var flow struct{ UI struct{ Action string } }
	p.call(http.MethodGet, p.site+"/self-service/login/api", "", nil, &flow)
	typed := map[string]string{"method": "password", "identifier": account, "password": password}
	if rand.IntN(20) == 0 {
		typed["password"] = "mistyped"
	}
	var in struct {
		Token string `json:"session_token"`
	}
	if flow.UI.Action != "" {
		p.call(http.MethodPost, flow.UI.Action, "", typed, &in)
	}
	streaming, leave := context.WithCancel(p.ctx)
	defer leave()
	if in.Token != "" && rand.IntN(2) == 0 {
		go p.stream(streaming, in.Token)
	}
	for range 10 + rand.IntN(60) {
		p.call(http.MethodGet, p.site+"/page", in.Token, nil, nil)
		pause(p.ctx, time.Duration(rand.IntN(120))*time.Millisecond)
	}
	if in.Token != "" {
		p.signOut(in.Token)
	}
}

// stream keeps a request open until its session ends.
func (p *person) stream(ctx context.Context, token string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.site+"/stream", nil)
	if err != nil {
		return
	}
	r.Header.Set("X-Session-Token", token)
	if res, err := p.client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// signOut ends the session in one of the ways there are.
func (p *person) signOut(token string) {
	var made struct {
		URL string `json:"logout_url"`
	}
	switch rand.IntN(40) {
	case 0:
		p.call(http.MethodDelete, p.site+"/sessions?all=true", token, nil, nil)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		p.call(http.MethodDelete, p.site+"/self-service/logout/api", "", map[string]string{"session_token": token}, nil)
	default:
		p.call(http.MethodGet, p.site+"/self-service/logout/browser", token, nil, &made)
		if made.URL != "" {
			p.call(http.MethodGet, made.URL, token, nil, nil)
		}
	}
}

// mischief is what also happens: dead cookies, links to elsewhere, forged logouts.
func (p *person) mischief() {
	switch rand.IntN(4) {
	case 0:
		p.call(http.MethodGet, p.site+"/page", "ory_st_"+strings.Repeat("x", 32), nil, nil)
	case 1:
		elsewhere := []string{"https://evil.example/", "javascript:alert(1)", `https:\\evil.example`, "https://user@evil.example"}
		p.call(http.MethodGet, p.site+"/self-service/login/browser?return_to="+url.QueryEscape(elsewhere[rand.IntN(len(elsewhere))]), "", nil, nil)
	case 2:
		p.call(http.MethodGet, p.site+"/self-service/logout?token=ory_lo_forged", "", nil, nil)
	}
}
