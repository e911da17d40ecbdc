package httpx

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func isSessionCookie(name string) bool { return name == "ory_kratos_session" }

func TestCutCookies(t *testing.T) {
	const ours = "ory_kratos_session=s"
	for _, test := range []struct {
		name        string
		lines, want []string
	}{
		{"no cookies", nil, nil},
		{"alone", []string{ours}, nil},
		{"alone, with separators", []string{" " + ours + "; ;"}, nil},
		{"first", []string{ours + "; a=1; b=2"}, []string{"a=1; b=2"}},
		{"in the middle", []string{"a=1; " + ours + "; b=2"}, []string{"a=1; b=2"}},
		{"last", []string{"a=1; b=2; " + ours}, []string{"a=1; b=2"}},
		{"several times", []string{ours + ";a=1;" + ours + ";b=2; " + ours}, []string{"a=1;b=2"}},
		{"on one line of three", []string{"a=1", ours, "b=2"}, []string{"a=1", "b=2"}},
		{"on every line", []string{ours, ours + "; a=1"}, []string{"a=1"}},
		{"spaces around the name", []string{"a=1;\t ory_kratos_session\t= s ; b=2"}, []string{"a=1; b=2"}},
		{"quoted", []string{`a="1"; ory_kratos_session="s"; b="2`}, []string{`a="1"; b="2`}},
		{"an empty value", []string{"ory_kratos_session=; a=1"}, []string{"a=1"}},
		{"no equals sign: the value of a nameless cookie", []string{"ory_kratos_session; a=1"}, []string{"ory_kratos_session; a=1"}},
		{"an empty name before ours", []string{"=ory_kratos_session=s"}, []string{"=ory_kratos_session=s"}},
		{"other case", []string{"ORY_KRATOS_SESSION=s"}, []string{"ORY_KRATOS_SESSION=s"}},
		{"longer and shorter names", []string{"ory_kratos_session_x=s; ory_kratos_sessio=s; xory_kratos_session=s"}, []string{"ory_kratos_session_x=s; ory_kratos_sessio=s; xory_kratos_session=s"}},
		{"names that PHP folds", []string{"ory.kratos.session=s; ory%5Fkratos_session=s; ory[kratos_session=s"}, []string{"ory.kratos.session=s; ory%5Fkratos_session=s; ory[kratos_session=s"}},
		{"a comma separates nothing", []string{"x=1, ory_kratos_session=s"}, []string{"x=1, ory_kratos_session=s"}},
		{"a comma in ours goes with it", []string{"ory_kratos_session=1, a=2; b=3"}, []string{"b=3"}},
		{"malformed pairs stay", []string{";; a = 1 ;b;=c; ü=\x01; " + ours + ";d=;;"}, []string{";; a = 1 ;b;=c; ü=\x01;d=;;"}},
		{"a quoted semicolon separates all the same", []string{`a="x; ` + ours + `"; b=2`}, []string{`a="x; b=2`}},
		{"nothing of ours stays byte for byte", []string{"", " ; ", "a=1 ;b=2;"}, []string{"", " ; ", "a=1 ;b=2;"}},
		{"an empty line stays beside a cut one", []string{"", ours, "a=1"}, []string{"", "a=1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Accept": {"x"}}
			if test.lines != nil {
				h["Cookie"] = slices.Clone(test.lines)
			}
			shallow := h["Cookie"]
			cut := CutCookies(h, isSessionCookie)
			if got := h["Cookie"]; !slices.Equal(got, test.want) {
				t.Errorf("%q became %q, want %q", test.lines, got, test.want)
			}
			if _, there := h["Cookie"]; there != (test.want != nil) {
				t.Errorf("header there: %t", there)
			}
			if want := !slices.Equal(test.lines, test.want); cut != want {
				t.Errorf("cut = %t, want %t", cut, want)
			}
			if !slices.Equal(shallow, test.lines) {
				t.Errorf("a shallow copy was changed to %q", shallow)
			}
			if slices.Collect(CookieValues(h, "ory_kratos_session")) != nil {
				t.Error("a session cookie is left")
			}
		})
	}
}

func TestCookieValues(t *testing.T) {
	h := http.Header{"Cookie": {
		`s=1; a=x; s = "2" ;s=;s`, "", `=s; S=3; s=a=b; s="4; s="""; s=" 5 "`, "s=\t6\t",
	}}
	want := []string{"1", "2", "", "a=b", `"4`, `"`, " 5 ", "6"}
	if got := slices.Collect(CookieValues(h, "s")); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for value := range CookieValues(h, "s") {
		if value != "1" {
			t.Errorf("went on to %q after the loop ended", value)
		}
		break
	}
}

func TestHeaderSet(t *testing.T) {
	long := "X-" + strings.Repeat("Long-", 40)
	set := NewHeaderSet("X-User-Id", "X-Logout-Url", long)
	h := http.Header{
		"X-User-Id": {"1"}, "x-user-id": {"2"}, "X_USER_ID": {"3"}, "X.User.Id": {"4"}, "X-User_id": {"5"}, "X-Logout-Url": {"6"},
		strings.ReplaceAll(long, "-", "_"): {"7"},
		"X-User-Ids":                       {"a"}, "X-Userid": {"b"}, "X--User-Id": {"c"}, "User-Id": {"d"}, "X-User-Id-": {"e"},
	}
	want := http.Header{"X-User-Ids": {"a"}, "X-Userid": {"b"}, "X--User-Id": {"c"}, "User-Id": {"d"}, "X-User-Id-": {"e"}}
	set.DeleteFrom(h)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("left: %v", h)
	}
	NewHeaderSet().DeleteFrom(h)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("an empty set left: %v", h)
	}
}

// All that a header name may hold and that is not alphanumeric counts as a hyphen.
func TestHeaderSetFoldsAll(t *testing.T) {
	set := NewHeaderSet("X-User-Id", "X_Logout.Url")
	for _, c := range "!#$%&'*+-.^_`|~" {
		h := http.Header{strings.ReplaceAll("X-User-Id", "-", string(c)): {"1"}, strings.ReplaceAll("X-Logout-Url", "-", string(c)): {"2"}}
		if set.DeleteFrom(h); len(h) != 0 {
			t.Errorf("%c: left: %v", c, h)
		}
	}
	h := http.Header{"X0User0Id": {"1"}, "XAUserAId": {"2"}, "XzUserzId": {"3"}}
	if set.DeleteFrom(h); len(h) != 3 {
		t.Errorf("left: %v", h)
	}
	for name, want := range map[string]bool{"X-User-Id": false, "Dnt": false, "A1": false, "": false, "X_User-Id": true, "X-User!": true} {
		if got := Foldable(name); got != want {
			t.Errorf("foldable(%q) = %t", name, got)
		}
	}
}

func TestCutConnection(t *testing.T) {
	set := NewHeaderSet("X-User-Id")
	for _, test := range []struct {
		name        string
		lines, want []string
	}{
		{"absent", nil, nil},
		{"close", []string{"close"}, []string{"close"}},
		{"upgrade", []string{"keep-alive, Upgrade"}, []string{"keep-alive, Upgrade"}},
		{"ours", []string{"close, X-User-Id"}, []string{"close"}},
		{"ours first", []string{"x-user-id ,\tte, close"}, []string{"te, close"}},
		{"ours alone", []string{"X-User-Id"}, nil},
		{"ours in another spelling", []string{"X_User.Id, te"}, []string{"te"}},
		{"Cookie and Authorization", []string{"cookie, AUTHORIZATION"}, nil},
		{"several lines", []string{"close", "Cookie", "te,X-User-Id,, Cookie"}, []string{"close", "te,"}},
		{"empty options stay", []string{",, close ,"}, []string{",, close ,"}},
		{"another name", []string{"X-User-Ids, Set-Cookie"}, []string{"X-User-Ids, Set-Cookie"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.lines != nil {
				h["Connection"] = test.lines
			}
			set.CutConnection(h)
			if got, there := h["Connection"]; !slices.Equal(got, test.want) || there != (test.want != nil) {
				t.Errorf("%q became %q, want %q", test.lines, got, test.want)
			}
		})
	}
}

// hotHeader is a browser's request with no credential of ours in it.
func hotHeader() http.Header {
	return http.Header{
		"Cookie":     {"a=1; theme=dark; _ga=GA1.2.3.4; " + strings.Repeat("x", 200) + "=1", "b=2"},
		"Connection": {"keep-alive, Upgrade"}, "Accept": {firefoxAccept}, "User-Agent": {"x"}, "Accept-Encoding": {"gzip"},
		"Accept-Language": {"de"}, "Referer": {"https://a.example/"}, "Upgrade-Insecure-Requests": {"1"}, "X-Forwarded-For": {"192.0.2.1"},
	}
}

func TestNothingToCutAllocatesNothing(t *testing.T) {
	h, set := hotHeader(), NewHeaderSet("X-User-Id", "X-Logout-Url")
	names := map[string]bool{"ory_kratos_session": true}
	for name, do := range map[string]func(){
		"cutCookies":    func() { CutCookies(h, func(name string) bool { return names[name] }) },
		"deleteFrom":    func() { set.DeleteFrom(h) },
		"cutConnection": func() { set.CutConnection(h) },
		"cookieValues": func() {
			for value := range CookieValues(h, "b") {
				if value != "2" {
					t.Error("wrong value")
				}
			}
		},
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkHygiene(b *testing.B) {
	h, set := hotHeader(), NewHeaderSet("X-User-Id", "X-Logout-Url")
	b.Run("cookies/none", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			CutCookies(h, isSessionCookie)
		}
	})
	b.Run("headers/none", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			set.DeleteFrom(h)
			set.CutConnection(h)
		}
	})
	b.Run("cookies/one", func(b *testing.B) {
		b.ReportAllocs()
		lines := append([]string{"ory_kratos_session=s; a=1"}, h["Cookie"]...)
		cut := http.Header{}
		for b.Loop() {
			cut["Cookie"] = lines
			CutCookies(cut, isSessionCookie)
		}
	})
}

// FuzzCutCookies compares the result with the simplest way to say what it must
// be: the pairs that are not ours, in their order, with their bytes.
func FuzzCutCookies(f *testing.F) {
	for _, seed := range []string{
		"", "s=1", "a=1; s=2; b=3", "s=1;s=2\na=1", ";;s;=s; s =\t1;", "a=\"s=1; s=2\"", "s=1, a=2", "\n\ns=1\n", "S=1;s=1;\x00=\xff", " ;s=;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		pairs := func(lines []string, ours bool) (out []string) {
			for _, line := range lines {
				for pair := range strings.SplitSeq(line, ";") {
					name, _, found := strings.Cut(pair, "=")
					if (found && strings.Trim(name, " \t") == "s") != ours || strings.Trim(pair, " \t") == "" {
						continue
					}
					out = append(out, pair)
				}
			}
			return out
		}
		h := http.Header{"Cookie": slices.Clone(lines)}
		cut := CutCookies(h, func(name string) bool { return name == "s" })
		if want := len(pairs(lines, true)) > 0; cut != want {
			t.Fatalf("%q: cut = %t, want %t", lines, cut, want)
		}
		got, want := pairs(h["Cookie"], false), pairs(lines, false)
		if len(pairs(h["Cookie"], true)) != 0 || len(got) != len(want) {
			t.Fatalf("%q became %q", lines, h["Cookie"])
		}
		for i := range want {
			// Only the space before a pair that is first now may go.
			if got[i] != want[i] && got[i] != strings.TrimLeft(want[i], " \t") {
				t.Fatalf("%q became %q", want[i], got[i])
			}
		}
		if !cut && fmt.Sprintf("%q", h["Cookie"]) != fmt.Sprintf("%q", lines) {
			t.Fatalf("%q was changed to %q", lines, h["Cookie"])
		}
		var values int
		for range CookieValues(http.Header{"Cookie": lines}, "s") {
			values++
		}
		if values != len(pairs(lines, true)) {
			t.Fatalf("%q: %d values", lines, values)
		}
	})
}
