package integration_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, store string) {
		// Caddy takes 16 KiB of headers unless told otherwise; here the large ones
		// have to get through to us.
		s := start(t, serverOptions{
			caddyfile: strings.Replace(caddyfile(store), "{\n", "{\n\tservers {\n\t\tmax_header_size 1MiB\n\t}\n", 1),
			files:     map[string]string{"accounts.txt": accountsFile()},
		})
		token, browser := signIn(t, s), signInBrowser(t, s)
		logout := createLogout(t, s, browser, "")
		action, loginCookies := startLogin(t, s, "browser")
		const toAPI = "/self-service/logout/api"
		huge := strings.Repeat("a", 6<<20)
		form := "Content-Type: application/x-www-form-urlencoded"
		good, goodCookie := "X-Session-Token: "+token, "Cookie: "+browser

		for _, test := range []struct {
			name, method, path, body string
			header                   []string
			want                     []int
		}{
			{"6 MiB of JSON", "DELETE", toAPI, `{"session_token":"` + huge + `"}`, []string{sendsJSON}, []int{400, 413}},
			{"6 MiB of JSON before the token", "DELETE", toAPI, `{"x":"` + huge + `","session_token":"` + token + `"}`, []string{sendsJSON}, []int{400, 413}},
			{
				"6 MiB of JSON to sign in", "POST", action.UI.Action, `{"method":"password","identifier":"` + huge + `"}`,
				[]string{sendsJSON, acceptJSON, "Cookie: " + loginCookies},
				[]int{400, 413},
			},
			{
				"6 MiB of form to sign in", "POST", action.UI.Action, "identifier=" + huge,
				[]string{form, acceptJSON, "Cookie: " + loginCookies},
				[]int{400, 413},
			},
			{"6 MiB of form to sign out", "POST", "/self-service/logout", "token=" + huge, []string{form, acceptJSON, goodCookie}, []int{400, 413}},
			{"deep JSON", "DELETE", toAPI, strings.Repeat("[", 30<<10), []string{sendsJSON}, []int{400}},
			{"JSON in invalid UTF-8", "DELETE", toAPI, "{\"session_token\":\"\xff\xfe\"}", []string{sendsJSON}, []int{400, 403}},
			{"two tokens", "DELETE", toAPI, `{"session_token":"x","session_token":"y"}`, []string{sendsJSON}, []int{403}},
			{"a type that is none", "DELETE", toAPI, `{}`, []string{"Content-Type: ;;;"}, []int{400}},

			{"64 KiB of session cookie", "GET", toWhoami, "", []string{"Cookie: " + cookieName + "=" + strings.Repeat("a", 64<<10)}, []int{401}},
			{"64 KiB of cookies before a good one", "GET", toWhoami, "", []string{"Cookie: a=" + strings.Repeat("b", 64<<10) + "; " + browser}, []int{200}},
			{"many session cookies", "GET", toWhoami, "", []string{"Cookie: " + strings.Repeat(cookieName+"=x; ", 2000)}, []int{401}},
			{"cookie in invalid UTF-8", "GET", toWhoami, "", []string{"Cookie: " + cookieName + "=\xff\xfe"}, []int{401}},
			{"cookie of separators", "GET", toWhoami, "", []string{"Cookie: ;;;=;=;;,,"}, []int{401}},
			{"token in invalid UTF-8", "GET", toWhoami, "", []string{"X-Session-Token: \xff\xfe"}, []int{401}},
			{"bearer of nothing", "GET", toWhoami, "", []string{"Authorization: Bearer"}, []int{401}},
			{"a wrong token beside a good cookie", "GET", toWhoami, "", []string{"X-Session-Token: nope", goodCookie}, []int{200}},
			{"Accept of 64 KiB", "GET", toWhoami, "", []string{"Accept: " + strings.Repeat("text/html,", 6<<10), good}, []int{200}},

			{"query in invalid UTF-8", "GET", "/self-service/logout?token=%ff%fe", "", []string{acceptJSON, goodCookie}, []int{403}},
			{"query that is none", "GET", "/self-service/logout?token=%zz", "", []string{acceptJSON, goodCookie}, []int{400}},
			{"return_to in invalid UTF-8", "GET", toCreate + "?return_to=%ff%fe://x", "", []string{acceptJSON, goodCookie}, []int{400}},
			{"return_to with a line break", "GET", toCreate + "?return_to=/%0d%0aSet-Cookie:a=b", "", []string{acceptJSON, goodCookie}, []int{400}},
			{"return_to of 64 KiB", "GET", toCreate + "?return_to=/" + huge[:64<<10], "", []string{acceptJSON, goodCookie}, []int{200, 400}},
			{"error of a strange id", "GET", "/self-service/errors?id=%ff..%2f", "", []string{acceptJSON}, []int{404}},
			{"session of a strange id", "DELETE", "/sessions/%ff", "", []string{good}, []int{400, 404}},
			{"page that is none", "GET", "/sessions?page_token=%ff&page_size=-1", "", []string{good}, []int{400}},
			{"path with dots", "GET", "/x/../self-service/./logout/browser", "", []string{acceptJSON, good}, []int{200}},
		} {
			t.Run(test.name, func(t *testing.T) {
				url := test.path
				if strings.HasPrefix(url, "/") {
					url = s.URL(url)
				}
				if len(test.body) > 1<<20 {
					checkRefusal(t, callWhileSending(t, s, test.method, url, test.body, test.header...), test.want)
				} else {
					checkRefusal(t, call(t, test.method, url, test.body, test.header...), test.want)
				}
				if got := whoami(t, s, good); got != 200 {
					t.Fatalf("the session of the app was lost: %d", got)
				}
				if got := whoami(t, s, goodCookie); got != 200 {
					t.Fatalf("the session of the browser was lost: %d", got)
				}
			})
		}
		if a := call(t, "GET", logout.URL, "", acceptJSON, goodCookie); a.status != 204 {
			t.Errorf("logout at the end: %d", a.status)
		}
	})
}

// callWhileSending reads the answer while it still sends: a server that refuses
// a large body answers and hangs up before it has read it all, and net/http
// then sometimes tells of the second and not of the first.
func callWhileSending(t *testing.T, s *caddyServer, method, url, body string, header ...string) answer {
	t.Helper()
	host := "127.0.0.1:" + s.port
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	lines := append([]string{
		method + " " + strings.TrimPrefix(url, "http://"+host) + " HTTP/1.1",
		"Host: " + host, "Content-Length: " + strconv.Itoa(len(body)),
	}, header...)
	go func() {
		_, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body) // fails once it is answered
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
}

// TestHugeHeaders sends them to a Caddy as it comes: it refuses them itself, and
// goes on.
func TestHugeHeaders(t *testing.T) {
	t.Parallel()
	s := startWith(t, embeddedStore)
	browser := signInBrowser(t, s)
	huge := strings.Repeat("a", 64<<10)
	for _, cookie := range []string{cookieName + "=" + huge, "a=" + huge + "; " + browser} {
		if a := call(t, "GET", s.URL(toWhoami), "", acceptJSON, "Cookie: "+cookie); a.status != 431 {
			t.Errorf("status %d, want 431: %s", a.status, tail(a.body, 300))
		}
	}
	if got := whoami(t, s, "Cookie: "+browser); got != 200 {
		t.Errorf("whoami: %d", got)
	}
}

// checkRefusal checks that a response has one of the wanted statuses and, if it
// is an error, a body that says so and repeats nothing raw.
func checkRefusal(t *testing.T, a answer, want []int) {
	t.Helper()
	found := false
	for _, status := range want {
		found = found || a.status == status
	}
	if !found {
		t.Errorf("status %d, want one of %v: %s", a.status, want, tail(a.body, 300))
	}
	if !utf8.ValidString(a.body) {
		t.Errorf("the body is not UTF-8: %q", a.body)
	}
	if len(a.body) > 8<<10 && a.status != 200 {
		t.Errorf("an error of %d bytes", len(a.body))
	}
	if a.status < 400 {
		return
	}
	var envelope struct {
		Error struct {
			ID      string `json:"id"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(a.body), &envelope); err != nil || envelope.Error.ID == "" || envelope.Error.Message == "" {
		t.Errorf("want an error with an id and a message: %s", tail(a.body, 300))
	}
	if strings.Contains(a.body, "json:") || strings.Contains(a.body, ".go") {
		t.Errorf("the error tells of the inside: %s", a.body)
	}
}
