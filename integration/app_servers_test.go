package integration_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// seen is what an app saw of a request, in the words of its own framework.
type seen struct {
	Count   int               // how many requests the app has had, 0 if it cannot know
	Method  string            // of the request
	Path    string            // by which the app chooses what to do
	Query   string            // as it came
	Vars    map[string]string // the environment of CGI, WSGI, PHP and Rack, or a line of each header
	Headers [][2]string       // one by one, trailers among them
	Cookies map[string]string // as the framework reads them
	Body    string            // its bytes, as Latin-1
}

// appServer is one of them.
type appServer struct {
	name string
	// command returns the command line for a port, with its files in a directory
	// that is empty at first. The apps themselves are in apps.
	command func(apps, dir, port string) []string
	env     []string
	// prepare lays out the directory.
	prepare func(t *testing.T, apps, dir string) error
	// leavesBodies says that it takes an unread body for the next request.
	leavesBodies bool
	// fastCGI says that it speaks FastCGI. All others speak HTTP/1.1.
	fastCGI bool

	addr string
}

// proxy is what a Caddyfile has for the server.
func (a *appServer) proxy(apps string) string {
	if a.fastCGI {
		return "root * " + apps + "\n php_fastcgi " + a.addr
	}
	if a.leavesBodies {
		return "reverse_proxy " + a.addr + " {\n transport http {\n keepalive off\n }\n }"
	}
	return "reverse_proxy " + a.addr
}

const (
	// python is the interpreter for which Debian installs what Python needs.
	python     = "/usr/bin/python3"
	tomcatHome = "/usr/share/tomcat10"
)

// allAppServers are those that Debian has, the slowest first.
func allAppServers() []*appServer {
	return []*appServer{
		{name: "Tomcat", prepare: prepareTomcat, command: func(_, dir, port string) []string {
			return []string{
				"java", "-XX:TieredStopAtLevel=1", "-Decho.port=" + port, "-Dcatalina.home=" + tomcatHome, "-Dcatalina.base=" + dir,
				"-Djava.io.tmpdir=" + dir, "-cp", tomcatHome + "/bin/bootstrap.jar:" + tomcatHome + "/bin/tomcat-juli.jar",
				"org.apache.catalina.startup.Bootstrap", "start",
			}
		}},
		{name: "Rack on Puma", command: func(apps, _, port string) []string {
			return []string{"puma", "--config", "-", "--environment", "production", "--bind", "tcp://127.0.0.1:" + port, apps + "/config.ru"}
		}},
		{name: "Hypercorn", command: func(apps, _, port string) []string {
			return []string{"hypercorn", "--bind", "127.0.0.1:" + port, apps + "/asgi_app.py:application"}
		}},
		{name: "Gunicorn", command: func(apps, _, port string) []string {
			return []string{"gunicorn", "--bind", "127.0.0.1:" + port, "--threads", "4", "--chdir", apps, "wsgi_app:application"}
		}},
		{name: "uWSGI", command: func(apps, _, port string) []string {
			return []string{
				"uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:" + port, "--need-app", "--die-on-term",
				"--wsgi-file", apps + "/wsgi_app.py",
			}
		}},
		{name: "wsgiref", command: func(apps, _, port string) []string { return []string{python, apps + "/wsgi_app.py", port} }},
		{name: "http.server", leavesBodies: true, command: func(apps, _, port string) []string { return []string{python, apps + "/http_server.py", port} }},
		{name: "Node", command: func(apps, _, port string) []string { return []string{"node", apps + "/server.js", port} }},
		{name: "PHP's own", command: func(apps, _, port string) []string {
			return []string{"php", "-S", "127.0.0.1:" + port, apps + "/index.php"}
		}},
		{name: "PHP by FastCGI", fastCGI: true, env: []string{"PHP_FCGI_MAX_REQUESTS=0"}, command: func(_, _, port string) []string {
			return []string{"php-cgi", "-b", "127.0.0.1:" + port}
		}},
	}
}

// prepareTomcat compiles the servlet and lays out a Tomcat of its own.
func prepareTomcat(t *testing.T, apps, dir string) error {
	classes := filepath.Join(dir, "webapps", "ROOT", "WEB-INF", "classes")
	if err := os.MkdirAll(classes, 0o700); err != nil {
		return err
	}
	for name, to := range map[string]string{"server.xml": "conf/server.xml", "web.xml": "webapps/ROOT/WEB-INF/web.xml"} {
		content, err := os.ReadFile(filepath.Join(apps, name))
		if err != nil {
			return err
		}
		writeFile(t, filepath.Join(dir, to), string(content))
	}
	compile := exec.CommandContext(t.Context(), "javac", "-cp", tomcatHome+"/lib/servlet-api.jar", "-d", classes, filepath.Join(apps, "Echo.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w\n%s", err, out)
	}
	return nil
}

// startAppServers starts all of them side by side, and waits until each listens.
func startAppServers(t *testing.T) (servers []*appServer, apps string) {
	t.Helper()
	apps, err := filepath.Abs(filepath.Join("testdata", "app-servers"))
	if err != nil {
		t.Fatal(err)
	}
	readsFiles(t, apps)
	servers = allAppServers()
	failures := make([]error, len(servers))
	var starting sync.WaitGroup
	for i, server := range servers {
		dir := t.TempDir()
		starting.Go(func() { failures[i] = server.start(t, apps, dir) })
	}
	starting.Wait()
	if i := slices.IndexFunc(failures, func(err error) bool { return err != nil }); i >= 0 {
		t.Fatalf("%s: %v", servers[i].name, failures[i])
	}
	return servers, apps
}

// start returns when the server listens; the test ends it.
func (a *appServer) start(t *testing.T, apps, dir string) error {
	if a.prepare != nil {
		if err := a.prepare(t, apps, dir); err != nil {
			return err
		}
	}
	port := freePort(t)
	a.addr = "127.0.0.1:" + port
	command, logs := a.command(apps, dir, port), &logBuffer{}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, logs, logs
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PYTHONDONTWRITEBYTECODE=1"}, a.env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended shows in what it wrote
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended already
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", a.name, tail(logs.String(), 4<<10))
		}
	})
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if a.serves(t, port) {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("ended before it served:\n%s", tail(logs.String(), 4<<10))
		case <-time.After(pollInterval):
		}
	}
	return fmt.Errorf("does not serve:\n%s", tail(logs.String(), 4<<10))
}

// serves reports whether it answers as our app does.
func (a *appServer) serves(t *testing.T, port string) bool {
	if a.fastCGI {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", a.addr)
		return err == nil && conn.Close() == nil
	}
	path := "/ready/" + port
	answer, err := tryCall(t, http.MethodGet, "http://"+a.addr+path, "")
	var s seen
	return err == nil && json.Unmarshal([]byte(answer.body), &s) == nil && s.Path == path
}
