package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-logout/caddy-logout/bench/internal/rig"
)

// loadSpec is the task of the generator, which reads it as JSON from its input.
type loadSpec struct {
	Addr        string
	Connections int
	For         time.Duration
	Flow        string
	Credentials string // the name of a file, one a line
}

// loadResult is its result, which it writes as JSON.
type loadResult struct {
	// Done counts finished flows: requests, or pairs of them.
	Done int
	// Unavailable counts responses 503: on a busy machine, Redis may not answer in
	// time.
	Unavailable int
	Elapsed     time.Duration
	P50         time.Duration
	P99         time.Duration
}

// flow is what one connection does over and over.
type flow struct {
	// once says that a credential works once.
	once bool
	run  func(c *connection, credential string) error
}

const get = " HTTP/1.1\r\nHost: bench.example\r\n"

var flows = map[string]flow{
	"check": {run: func(c *connection, credential string) error {
		err := c.ask(200, "GET /app/page"+get+"Cookie: theme=dark; "+rig.Cookie+"="+credential+"; lang=en\r\n\r\n")
		if err == nil && string(c.body) != hello {
			err = errors.New("the response is not the app's")
		}
		return err
	}},
	"anonymous": {run: func(c *connection, _ string) error {
		return c.ask(401, "GET /sessions/whoami"+get+"\r\n")
	}},
	"whoami": {run: func(c *connection, credential string) error {
		return c.ask(200, "GET /sessions/whoami"+get+"X-Session-Token: "+credential+"\r\n\r\n")
	}},
	"redirect": {run: func(c *connection, _ string) error {
		return c.ask(303, "GET /leave"+get+"\r\n")
	}},
	"cycle": {once: true, run: func(c *connection, credential string) error {
		err := c.ask(200, "GET /self-service/logout/browser"+get+"Accept: application/json\r\nCookie: "+
			rig.Cookie+"="+credential+"\r\n\r\n")
		if err != nil {
			return err
		}
		_, token, found := bytes.Cut(c.body, []byte(`"logout_token":"`))
		if !found {
			return errors.New("no logout token")
		}
		token, _, _ = bytes.Cut(token, []byte(`"`))
		return c.submit(credential, string(token))
	}},
	"submit": {once: true, run: func(c *connection, credential string) error {
		return c.submit(credential, logoutToken(credential))
	}},
	"api": {once: true, run: func(c *connection, credential string) error {
		body := `{"session_token":"` + credential + `"}`
		return c.ask(204, "DELETE /self-service/logout/api"+get+"Content-Type: application/json\r\nContent-Length: "+
			strconv.Itoa(len(body))+"\r\n\r\n"+body)
	}},
}

// logoutToken matches the token in a page with {session.logout_url}.
func logoutToken(credential string) string {
	mac := hmac.New(sha256.New, []byte(credential))
	mac.Write([]byte("caddy-logout logout token v1"))
	key := sha256.Sum256([]byte(credential))
	return "ory_lo_" + lowerBase32.EncodeToString(mac.Sum(nil)[:20]) + lowerBase32.EncodeToString(key[:])
}

// connection is one connection to the server under load.
type connection struct {
	net.Conn
	r    *bufio.Reader
	body []byte
}

func dial(ctx context.Context, addr string) (*connection, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, r: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (c *connection) submit(credential, token string) error {
	return c.ask(303, "GET /self-service/logout?token="+token+get+"Cookie: "+rig.Cookie+"="+credential+"\r\n\r\n")
}

// errUnavailable means a response 503.
var errUnavailable = errors.New("the server answered 503")

// ask sends a request, reads the response into body, and wants its status.
func (c *connection) ask(want int, request string) error {
	status, err := c.exchange(request)
	if err == nil && status == 503 {
		return errUnavailable
	}
	if err == nil && status != want {
		err = fmt.Errorf("the server answered %d, not %d: %s", status, want, c.body)
	}
	return err
}

func (c *connection) exchange(request string) (status int, err error) {
	if _, err := io.WriteString(c, request); err != nil {
		return 0, err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first && len(line) >= 12:
			status, err = strconv.Atoi(string(line[9:12]))
		case first:
			err = errors.New("no status line")
		case len(line) == 0:
			c.body = append(c.body[:0], make([]byte, length)...)
			_, err := io.ReadFull(c.r, c.body)
			return status, err
		default:
			length, err = readLength(line, length)
		}
		if err != nil {
			return 0, err
		}
	}
}

func readLength(line []byte, length int) (int, error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		return strconv.Atoi(string(bytes.TrimSpace(value)))
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		return 0, errors.New("the response has no length")
	}
	return length, nil
}

// loadMain is the main function of the load generator. It is a process of its own and
// sends requests as bytes over plain connections, so that it costs less than what it
// measures.
func loadMain(ctx context.Context) error {
	var spec loadSpec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return err
	}
	text, err := os.ReadFile(spec.Credentials)
	if err != nil {
		return err
	}
	result, err := generate(ctx, spec, strings.Fields(string(text)))
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// generate loads the server on all connections until the time is over, or the
// credentials are used up.
func generate(ctx context.Context, spec loadSpec, credentials []string) (loadResult, error) {
	f, ok := flows[spec.Flow]
	if !ok || len(credentials) == 0 {
		return loadResult{}, fmt.Errorf("no flow %q, or no credentials", spec.Flow)
	}
	connections := make([]*connection, spec.Connections)
	for i := range connections {
		var err error
		if connections[i], err = dial(ctx, spec.Addr); err != nil {
			return loadResult{}, err
		}
		defer connections[i].Close()
	}
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		took  = make([][]time.Duration, len(connections))
		fails = make([]error, len(connections))
		away  atomic.Int64
		start = time.Now()
	)
	for i, c := range connections {
		wg.Go(func() {
			for now := time.Now(); now.Sub(start) < spec.For; {
				n := int(next.Add(1) - 1)
				if f.once && n >= len(credentials) {
					return
				}
				fails[i] = f.run(c, credentials[n%len(credentials)])
				end := time.Now()
				if errors.Is(fails[i], errUnavailable) {
					fails[i], now = nil, end
					away.Add(1)
					continue
				}
				if fails[i] != nil {
					return
				}
				took[i] = append(took[i], end.Sub(now))
				now = end
			}
		})
	}
	wg.Wait()
	result := loadResult{Elapsed: time.Since(start)}
	all := slices.Concat(took...)
	result.Unavailable = int(away.Load())
	if err := errors.Join(fails...); err != nil {
		return result, fmt.Errorf("%s: %w", spec.Flow, err)
	}
	if len(all) <= 100*result.Unavailable {
		return result, fmt.Errorf("%s: %d were done and %d answered 503", spec.Flow, len(all), result.Unavailable)
	}
	slices.Sort(all)
	result.Done, result.P50, result.P99 = len(all), all[len(all)/2], all[len(all)*99/100]
	return result, nil
}
