// Sessions end while PHP writes nothing: Caddy's FastCGI transport waits for the app
// and ignores that the request was cancelled.

package integration_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-logout/caddy-logout/internal/attacktest"
	"github.com/caddy-logout/caddy-logout/internal/redistest"
)

// startPHP starts a FastCGI server that runs what is in dir until the test ends. It
// serves one request at a time.
func startPHP(t *testing.T, dir string) (addr string) {
	t.Helper()
	addr = "127.0.0.1:" + freePort(t)
	php := exec.CommandContext(t.Context(), "php-cgi", "-n", "-b", addr)
	php.Dir = dir
	php.Env = append(os.Environ(), "PHP_FCGI_CHILDREN=0", "PHP_FCGI_MAX_REQUESTS=0")
	if err := php.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = php.Process.Kill()
		_ = php.Wait()
	})
	eventually(t, "php-cgi to listen", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return addr
}

// quietPHP says one thing and then nothing more.
const quietPHP = `<?php
header('Content-Type: text/event-stream');
while (ob_get_level()) { ob_end_flush(); }
echo "data: hello\n\n";
flush();
sleep(600);
`

// TestAttackQuietPHP has a stream of PHP be quiet when its session ends, over
// HTTP/1.1 and HTTP/2, with TLS and without.
func TestAttackQuietPHP(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	store := patient(redisStore(redis), "10s")
	other := startWith(t, store)
	plain, unencrypted := new(http.Protocols), new(http.Protocols)
	plain.SetHTTP1(true)
	unencrypted.SetUnencryptedHTTP2(true)
	trusting := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} } // of this test's own Caddy
	tries, through := 0, 0
	for name, test := range map[string]struct {
		tls       bool
		transport *http.Transport
		proto     string
	}{
		"HTTP/1.1":         {false, &http.Transport{Protocols: plain}, "HTTP/1.1"},
		"HTTP/2":           {false, &http.Transport{Protocols: unencrypted}, "HTTP/2.0"},
		"HTTP/1.1 and TLS": {true, &http.Transport{Protocols: plain, TLSClientConfig: trusting()}, "HTTP/1.1"},
		"HTTP/2 and TLS":   {true, &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: trusting()}, "HTTP/2.0"},
	} {
		tries++
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "quiet.php"), quietPHP)
		site := "handle /app/* {\n session_auth\n root " + dir + "\n uri strip_prefix /app\n php_fastcgi " + startPHP(t, dir) + "\n }"
		config := withHTTP2(strings.Replace(caddyfile(store, site), "{\n", "{\n\tgrace_period 1s\n", 1))
		scheme := "http://"
		if test.tls {
			scheme = "https://"
			config = strings.Replace(caddyfile(store, site), "http://:{$PORT} {", "https://127.0.0.1:{$PORT} {\n\ttls internal", 1)
			config = strings.Replace(config, "{\n", "{\n\tgrace_period 1s\n\tskip_install_trust\n\tauto_https disable_redirects\n", 1)
		}
		s := start(t, serverOptions{caddyfile: config, files: map[string]string{"accounts.txt": accountsFile()}})
		t.Cleanup(test.transport.CloseIdleConnections)
		eventually(t, "a certificate", func() bool {
			if !test.tls {
				return true
			}
			conn, err := tls.Dial("tcp", "127.0.0.1:"+s.port, trusting())
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
		token := signIn(t, other)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"127.0.0.1:"+s.port+"/app/quiet.php", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := test.transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		body := bufio.NewReader(resp.Body)
		if line, err := body.ReadString('\n'); err != nil || line != "data: hello\n" || resp.Proto != test.proto {
			t.Fatalf("%s: %s %d %q %v", name, resp.Proto, resp.StatusCode, line, err)
		}
		since := time.Now()
		if a := call(t, http.MethodDelete, other.URL("/self-service/logout/api"), "", "Authorization: Bearer "+token); a.status != http.StatusNoContent {
			t.Fatalf("logout: %d", a.status)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, body)
			ended <- err
		}()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: the client takes what it has for the whole", name)
			}
			t.Logf("%s: closed within %v: %v", name, time.Since(since).Round(time.Millisecond), err)
		case <-time.After(10 * time.Second):
			through++
		}
	}
	attacktest.Report(t, "a quiet stream of PHP after its session has ended", tries, through)
}
