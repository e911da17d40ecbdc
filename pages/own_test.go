package pages

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// show renders the sign-in page, and another one.
func show(t *testing.T, s *Set) (login, pending string, csp string) {
	t.Helper()
	res, login := get(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) error {
		return s.Login(w, r, http.StatusOK, LoginData{Action: "/sign-in", CSRFToken: hostile, Site: "<app>", Message: "<no>"})
	})
	_, pending = get(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) error {
		return s.Pending(w, r, PendingData{Home: "/home"})
	})
	return login, pending, res.Header.Get("Content-Security-Policy")
}

func mustNew(t *testing.T, o Options) *Set {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOwnPages(t *testing.T) {
	const layout = "<!doctype html>\r\n<html lang={{lang}}><title>{{template \"title\" .}}</title><body class=mine>{{template \"main\" .}}"
	for name, test := range map[string]struct {
		files            map[string]string
		login, pending   []string // what is on them
		notLogin, notPen []string // and what is not
	}{
		"one page in our layout": {
			files: map[string]string{"login.html": `{{define "title"}}mine{{end}}{{define "main"}}<h1>Welcome to {{.Site}}</h1>{{.Message}}{{template "icon-lock"}}{{end}}`},
			login: []string{"<title>mine</title>", "Welcome to &lt;app&gt;", "&lt;no&gt;", "<style>", "<svg"}, notLogin: []string{"Password"},
			pending: []string{"You are being signed out"},
		},
		"one whole page": {
			files: map[string]string{"login.html": `<!doctype html><title>{{text "login.title" .Site}}</title><style>{{css}}</style><form action="{{.Action}}">`},
			login: []string{"<title>Sign in · &lt;app&gt;</title>", `action="/sign-in"`, "--accent"}, notLogin: []string{"<main>"},
			pending: []string{"<main>"},
		},
		"our pages in another layout": {
			files: map[string]string{"layout.html": layout, "README.txt": "{{", "logo.svg": "<svg>"},
			login: []string{"<body class=mine>", "Password", `<html lang=en>`}, pending: []string{"<body class=mine>", "You are being"},
		},
		"another style": {
			files: map[string]string{"page.css": "main { color: red }"},
			login: []string{"<style>main { color: red }</style>", "Password"}, pending: []string{"color: red"}, notPen: []string{"--accent"},
		},
		"other icons": {
			files: map[string]string{"icons.html": `{{range $i, $name := lang}}{{end}}` + icons("lock", "out", "check", "clock", "alert", "devices", "desktop", "phone", "program")},
			login: []string{"(lock)"}, pending: []string{"(clock)"},
		},
		"every kind of branch": {
			files: map[string]string{"sessions.html": `{{define "title"}}{{end}}{{define "main"}}
				{{range $i, $s := .Sessions}}{{if $s.Current}}{{continue}}{{else if eq $i 3}}{{break}}{{end}}{{.ID}}{{with $x := .LastUsed}}{{$x}}{{else}}-{{end}}{{else}}none{{end}}
				{{if and .Others (gt .More 2)}}{{printf "%d" .More}}{{else if or .Identity .Others}}{{len .Sessions}}{{end}}{{with $.Action}}{{.}}{{end}}{{end}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			login, pending, _ := show(t, mustNew(t, Options{Folder: folder(t, test.files)}))
			for page, wants := range map[*string][2][]string{&login: {test.login, test.notLogin}, &pending: {test.pending, test.notPen}} {
				for _, want := range wants[0] {
					if !strings.Contains(*page, want) {
						t.Errorf("there is no %s in\n%s", want, *page)
					}
				}
				for _, no := range wants[1] {
					if strings.Contains(*page, no) {
						t.Errorf("there is %s in\n%s", no, *page)
					}
				}
			}
		})
	}
}

func icons(names ...string) string {
	var out strings.Builder
	for _, name := range names {
		out.WriteString(`{{define "icon-` + name + `"}}(` + name + `){{end}}`)
	}
	return out.String()
}

// TestOwnPagesMayNotRunScripts checks what the policy opens for own pages, and
// that it is opened for them alone.
func TestOwnPagesMayNotRunScripts(t *testing.T) {
	css := "main { color: red }"
	_, _, csp := show(t, mustNew(t, Options{Folder: folder(t, map[string]string{"page.css": css})}))
	_, _, builtIn := show(t, ours)
	for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, directive) {
			t.Errorf("%s is missing in %s", directive, csp)
		}
	}
	if strings.Contains(csp, "script-src") || strings.Contains(csp, "unsafe") {
		t.Errorf("scripts may run: %s", csp)
	}
	for _, directive := range []string{" 'self'; font-src 'self'", "img-src 'self' data:"} {
		if !strings.Contains(csp, directive) || strings.Contains(builtIn, directive) {
			t.Errorf("%s: own pages have\n%s\nours have\n%s", directive, csp, builtIn)
		}
	}
	if hash := ours.styleHash; strings.Contains(csp, hash) || !strings.Contains(builtIn, hash) {
		t.Error("the policy allows another style sheet than that of the page")
	}
}

func TestMistakesAreFoundAtStart(t *testing.T) {
	page := func(main string) map[string]string {
		return map[string]string{"login.html": "{{define \"title\"}}t{{end}}\n{{define \"main\"}}\n" + main + "\n{{end}}"}
	}
	for name, test := range map[string]struct {
		files map[string]string
		want  string // in the error
	}{
		"not closed":               {page("{{if .Site}}"), "login.html:4: unexpected EOF"},
		"no such function":         {page("{{now}}"), `login.html:3: function "now" not defined`},
		"no such field":            {page("{{.Sight}}"), "login.html:3:2: executing \"main\" at <.Sight>: can't evaluate field Sight in type pages.LoginData"},
		"in a branch not taken":    {page("{{if not .Site}}\n{{.Sight}}{{end}}"), "login.html:4:2:"},
		"in an else":               {page("{{if .Site}}{{else}}{{.Sight}}{{end}}"), "login.html:3:22:"},
		"in an else if":            {page("{{if .Site}}{{else if .Sight}}{{end}}"), "login.html:3:22:"},
		"where no data leads":      {page("{{if .Site}}{{if .Message}}{{else}}{{.Sight}}{{end}}{{end}}"), "login.html:3:37:"},
		"in the else of a with":    {page("{{with .Site}}{{else}}{{.Sight}}{{end}}"), "login.html:3:24:"},
		"behind an or":             {page("{{if or .Site .Sight}}{{end}}"), "login.html:3:14:"},
		"behind an and":            {page("{{if and false .Sight}}{{end}}"), "login.html:3:15:"},
		"in a template of its own": {page(`{{template "mine" .}}{{end}}{{define "mine"}}{{if false}}{{.Sight}}{{end}}`), "login.html:3:59: executing \"mine\""},
		"of a session": {
			map[string]string{"sessions.html": `{{define "title"}}{{end}}{{define "main"}}{{range .Sessions}}{{break}}{{.Browsr}}{{end}}{{end}}`},
			"can't evaluate field Browsr in type pages.SessionRow",
		},
		"in a loop over nothing": {
			map[string]string{"sessions.html": `{{define "title"}}{{end}}{{define "main"}}{{range .Sessions}}{{else}}{{.None}}{{end}}{{end}}`},
			"sessions.html:1:71: ",
		},
		"no such text":            {page(`{{text "login.buton"}}`), `login.html:3:2: executing "main" at <text "login.buton">: error calling text: there is no text "login.buton"`},
		"a text without its site": {page(`{{text "login.site"}}`), "the text login.site takes 1 values, not 0"},
		"no main":                 {map[string]string{"login.html": `{{define "title"}}{{end}}`}, `template "main" not defined`},
		"no such template":        {page(`{{template "header"}}`), `login.html:3:11: executing "main" at <{{template "header"}}>: template "header" not defined`},
		"an icon is missing":      {map[string]string{"icons.html": icons("lock")}, `"icon-`},
		"cannot be escaped":       {page(`<a href="{{if .Site}}/x{{else}}?x="{{end}}>`), "login.html:3:14: {{if}} branches end in different contexts"},
		"a script":                {page("<script>let site = {{.Site}}</script>"), ""},
		"a name that is none":     {map[string]string{"sign-in.html": ""}, "sign-in.html is the name of no page: want confirm.html, error.html, icons.html, layout.html, login.html, page.css, pending.html, sessions.html, signed_out.html or unauthorized.html"},
		"a style that ends":       {map[string]string{"page.css": "</STYLE><script>"}, "page.css: it stands in a <style> element"},
		"not UTF-8":               {map[string]string{"login.html": "\xff"}, "login.html is not UTF-8"},
		"too large":               {map[string]string{"login.html": strings.Repeat("x", maxFile+1)}, "login.html is larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Folder: folder(t, test.files)})
			if test.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// TestFolderIsNotLeft lets symbolic links lead out of the folder.
func TestFolderIsNotLeft(t *testing.T) {
	outside := filepath.Join(folder(t, map[string]string{"secret.txt": "secret"}), "secret.txt")
	up := filepath.Join("..", filepath.Base(filepath.Dir(outside)), "secret.txt")
	for name, target := range map[string]string{"absolute": outside, "relative": up} {
		dir := t.TempDir()
		if err := os.Symlink(target, filepath.Join(dir, "login.html")); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Folder: dir}); err == nil || !strings.Contains(err.Error(), "login.html") {
			t.Errorf("%s: %v", name, err)
		}
	}
	within := folder(t, map[string]string{"real.txt": "<!doctype html><title>linked</title>"})
	if err := os.Symlink("real.txt", filepath.Join(within, "login.html")); err != nil {
		t.Fatal(err)
	}
	if login, _, _ := show(t, mustNew(t, Options{Folder: within})); !strings.Contains(login, "<title>linked</title>") {
		t.Error("a link within the folder is not followed")
	}
	pipe := t.TempDir()
	if err := os.Mkdir(filepath.Join(pipe, "login.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Folder: pipe}); err == nil || !strings.Contains(err.Error(), "login.html is no file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := New(Options{Folder: filepath.Join(pipe, "nowhere")}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("no folder: %v", err)
	}
}

func TestTexts(t *testing.T) {
	s := mustNew(t, Options{Language: "de", Texts: map[string]string{
		"login.button": "Anmelden <b>", "login.site": "bei {site}, ja: {site}", "pending.heading": "{", "login.title": "Hallo",
	}})
	login, pending, _ := show(t, s)
	for _, want := range []string{`<html lang="de">`, "Anmelden &lt;b&gt;", "bei &lt;app&gt;, ja: &lt;app&gt;", "Password"} {
		if !strings.Contains(login, want) {
			t.Errorf("there is no %s in\n%s", want, login)
		}
	}
	if !strings.Contains(pending, "<h1>{</h1>") {
		t.Errorf("the heading is not\n%s", pending)
	}
	// What is put in is not looked through for placeholders again.
	if got := s.Text("login.site", "{site}{wait}"); got != "bei {site}{wait}, ja: {site}{wait}" {
		t.Errorf("got %s", got)
	}
	if got := new(Set).Text("time.minutes", 3); got != "3 minutes" {
		t.Errorf("the zero set says %q", got)
	}
	_, page := get(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) error {
		return mustNew(t, Options{Texts: map[string]string{"error.session_inactive": "Vorbei.", "error.title_401": "Abgemeldet"}}).
			Error(w, r, http.StatusUnauthorized, ErrorData{ID: "session_inactive", Text: "No active session."})
	})
	if !strings.Contains(page, "<p>Vorbei.</p>") || !strings.Contains(page, "<h1>Abgemeldet</h1>") {
		t.Errorf("the error page is\n%s", page)
	}
}

func TestWrongTexts(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"key of a page": {
			Options{Texts: map[string]string{"confirm.buton": "x"}},
			`there is no text "confirm.buton": want confirm.button, confirm.heading, confirm.stay, confirm.text or confirm.title`,
		},
		"key of none":    {Options{Texts: map[string]string{"logn.button": "x"}}, `want confirm.button, confirm.heading`},
		"no placeholder": {Options{Texts: map[string]string{"login.button": "{site}"}}, "the text login.button has no placeholder, so {site} would stay as it is"},
		"another placeholder": {
			Options{Texts: map[string]string{"device.browser": "{browser} auf {sistem}"}},
			"the text device.browser has no placeholder {sistem}: want {browser}, {system}",
		},
		"language": {Options{Language: "de_DE"}, "language: want a language like de or pt-BR"},
		"markup":   {Options{Language: `en"><script>`}, "language: want"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// TestEveryTextIsSaid lets each key stand for a sentence of some page, so that
// none is left over.
func TestEveryTextIsSaid(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"html/*.html", "*.go", "../*.go", "../internal/*/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || name == "texts.go" {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	said := all.String()
	for key := range english {
		page, rest, _ := strings.Cut(key, ".")
		found := strings.Contains(said, `"`+key+`"`)
		switch page {
		case "error": // by status, and by the ids of errors
			found = found || strings.HasPrefix(rest, "title_") || strings.Contains(said, `"`+rest+`"`)
		case "time":
			found = found || strings.HasSuffix(rest, "_ago")
		}
		if !found {
			t.Errorf("nobody says %s", key)
		}
	}
}
