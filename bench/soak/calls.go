//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	acceptJSON = "Accept: application/json"
	acceptHTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	sendsJSON  = "Content-Type: application/json"
)

// newClient makes a client that follows no redirect and keeps no cookie.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 20 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// errGone means that the server was killed meanwhile: no response will come.
var errGone = errors.New("the server was killed")

// answer is a response that has been read.
type answer struct {
	status   int
	header   http.Header
	body     string
	sent     time.Time // the last time it was
	answered time.Time
}

// maxTries is how often a client sends a request that gets no response. A reload of
// Caddy, with any configuration, resets connections from which it has read nothing:
// the kernel hands them to the listener that it closes.
const maxTries = 8

// call sends a request until it gets a response, and complains if none comes.
func (s *soak) call(ctx context.Context, n *node, method, path, body string, header ...string) (answer, error) {
	a, err := s.send(ctx, n, method, path, body, header...)
	if err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
		s.complain(&s.counts.unanswered, "%s %s on %s: %v", method, cleanPath(path), n.name, err)
	}
	return a, err
}

// send sends a request until it gets a response. After a status, it does not send
// again.
func (s *soak) send(ctx context.Context, n *node, method, path, body string, header ...string) (answer, error) {
	life := n.life.Load()
	var last error
	for try := range maxTries {
		if try > 0 {
			s.counts.again.Add(1)
			select {
			case <-ctx.Done():
				return answer{}, ctx.Err()
			case <-time.After(time.Duration(try) * 50 * time.Millisecond):
			}
		}
		if life%2 == 0 || n.life.Load() != life {
			return answer{}, errGone
		}
		a, answers, err := s.once(ctx, n, method, path, body, header)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return answer{}, ctx.Err()
		}
		last = err
		if answers && n.life.Load() == life {
			break
		}
	}
	if n.life.Load() != life {
		return answer{}, errGone
	}
	return answer{}, last
}

// once sends a request once, and reports whether a response began.
func (s *soak) once(ctx context.Context, n *node, method, path, body string, header []string) (a answer, answers bool, err error) {
	r, err := http.NewRequestWithContext(ctx, method, n.URL(path), strings.NewReader(body))
	if err != nil {
		return answer{}, false, err
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	a.sent = time.Now()
	resp, err := n.client.Do(r)
	if err != nil {
		return answer{}, false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a.answered = time.Now()
	a.status, a.header, a.body = resp.StatusCode, resp.Header, string(text)
	s.counts.requests.Add(1)
	if err != nil {
		return a, true, fmt.Errorf("status %d, and then: %w", a.status, err)
	}
	if a.status == http.StatusServiceUnavailable {
		s.unavailable(n, method, path, a)
	}
	return a, true, nil
}

// unavailable counts a 503. An outage must not touch cookies.
func (s *soak) unavailable(n *node, method, path string, a answer) {
	if n.group.quiet() > s.plan.settled {
		s.counts.awayInQuiet.Add(1)
	} else {
		s.counts.away.Add(1)
	}
	id := a.header.Get("Ory-Error-Id")
	if len(a.header.Values("Set-Cookie")) > 0 || (id == "session_store_unavailable" && a.header.Get("Retry-After") == "") {
		s.complain(&s.counts.strange, "%s %s on %s: 503 that touches a cookie, or has no Retry-After (%s)", method, cleanPath(path), n.name, id)
	}
}

// cleanPath is a path without secrets.
func cleanPath(path string) string {
	before, _, _ := strings.Cut(path, "?")
	return before
}
