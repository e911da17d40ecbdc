package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tunnelApp is a running app server.
type tunnelApp struct {
	name, addr string
	logs       *logBuffer // "served METHOD TARGET USER" for each request
}

// tunnelApps starts the servers that read a second request from what follows the
// head of a CONNECT: Go's, Python's, and Gunicorn with threads.
func tunnelApps(t *testing.T) []tunnelApp {
	t.Helper()
	return []tunnelApp{
		goApp(t),
		pythonApp(t, "http.server", func(port, folder string) *exec.Cmd {
			return exec.Command("/usr/bin/python3", filepath.Join(folder, "plain.py"), port)
		}),
		pythonApp(t, "gunicorn", func(port, folder string) *exec.Cmd {
			return exec.Command("gunicorn", "--chdir", folder, "--bind", "127.0.0.1:"+port,
				"--worker-class", "gthread", "--threads", "4", "--keep-alive", "30", "wsgi_app:app")
		}),
	}
}

// hypercornApp starts Hypercorn, which takes up HTTP/2 by Upgrade: h2c.
func hypercornApp(t *testing.T) tunnelApp {
	t.Helper()
	return pythonApp(t, "hypercorn", func(port, folder string) *exec.Cmd {
		cmd := exec.Command("hypercorn", "--bind", "127.0.0.1:"+port, "asgi_app:app")
		cmd.Dir = folder
		return cmd
	})
}

// goApp is Go's net/http.
func goApp(t *testing.T) tunnelApp {
	t.Helper()
	a := tunnelApp{name: "net/http", logs: new(logBuffer)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := strings.Join(r.Header["X-User-Id"], ",")
		if user == "" {
			user = "-"
		}
		fmt.Fprintf(a.logs, "served %s %s %s\n", r.Method, r.RequestURI, user)
		_, _ = w.Write([]byte("ok"))
	}))
	t.Cleanup(server.Close)
	a.addr = server.Listener.Addr().String()
	return a
}

// pythonApp runs a server in the folder of the apps until the test ends.
func pythonApp(t *testing.T, name string, command func(port, folder string) *exec.Cmd) tunnelApp {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("testdata", "tunnels"))
	if err != nil {
		t.Fatal(err)
	}
	readsFiles(t, folder)
	port := freePort(t)
	a := tunnelApp{name: name, addr: "127.0.0.1:" + port, logs: new(logBuffer)}
	cmd := command(port, folder)
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdout, cmd.Stderr = a.logs, a.logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Gunicorn ends its workers when it is told to end, not when it is killed.
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ended does not matter
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(a.logs.String(), 4<<10))
		}
	})
	eventually(t, name+" serves", func() bool {
		answer, err := tryCall(t, http.MethodGet, "http://"+a.addr+"/ready", "")
		return err == nil && answer.status == http.StatusOK
	})
	return a
}

// got reports whether the server has served a request for a path.
func (a tunnelApp) got(path string) bool { return a.logs.contains(" " + path + " ") }
