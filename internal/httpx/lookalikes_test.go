package httpx

import (
	"net/http"
	"slices"
	"testing"
)

func TestCutLookalikes(t *testing.T) {
	for _, test := range []struct {
		name        string
		lines, want []string
	}{
		{"no cookies", nil, nil},
		{"dots and brackets, as PHP folds them", []string{"ory.kratos_session=s; a=1; ory[kratos_session=s; ory kratos.session=s"}, []string{"a=1"}},
		{"an array, as PHP reads it", []string{"ory_kratos_session[]=s; a=1", "ory_kratos_session[x]=s"}, []string{"a=1"}},
		{"behind a comma or a blank, as Python reads it", []string{"b=1, ory_kratos_session=s; a=1", `b="1" ory_kratos_session=s`}, []string{"a=1"}},
		{"behind bytes that are trimmed", []string{"\xa0ory_kratos_session=s; \x85ory_kratos_session=s;\xef\xbb\xbfory_kratos_session=s; a=1"}, []string{"a=1"}},
		{"blanks before the equals sign", []string{"ory.kratos_session \t=s; a=1"}, []string{"a=1"}},
		{"the name itself", []string{"a=1; ory_kratos_session=s"}, []string{"a=1"}},
		{"longer and shorter names", []string{"ory_kratos_session_x=s; ory_kratos_sessio=s; xory_kratos_session=s; x.ory_kratos_session=s"}, []string{"ory_kratos_session_x=s; ory_kratos_sessio=s; xory_kratos_session=s; x.ory_kratos_session=s"}},
		{"other case, other signs", []string{"ORY_KRATOS_SESSION=s; ory-kratos-session=s; ory%5Fkratos_session=s"}, []string{"ORY_KRATOS_SESSION=s; ory-kratos-session=s; ory%5Fkratos_session=s"}},
		{"in a value", []string{"back=/x?ory_kratos_session=s&a; b=ory_kratos_session; c==ory_kratos_session=s"}, []string{"back=/x?ory_kratos_session=s&a; b=ory_kratos_session; c==ory_kratos_session=s"}},
		{"no value", []string{"ory_kratos_session", "ory.kratos_session; a=1"}, []string{"ory_kratos_session", "ory.kratos_session; a=1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Accept": {"x"}}
			if test.lines != nil {
				h["Cookie"] = slices.Clone(test.lines)
			}
			shallow := h["Cookie"]
			CutLookalikes(h, "ory_kratos_session")
			if got := h["Cookie"]; !slices.Equal(got, test.want) {
				t.Errorf("%q became %q, want %q", test.lines, got, test.want)
			}
			if !slices.Equal(shallow, test.lines) {
				t.Errorf("a shallow copy was changed to %q", shallow)
			}
		})
	}
	// PHP reads no cookie under a name with a dot: what has one is another's.
	h := http.Header{"Cookie": {"my_session=s; my.session.x=1; a.my.session=1"}}
	if CutLookalikes(h, "my.session"); h["Cookie"][0] != "my_session=s; my.session.x=1; a.my.session=1" {
		t.Errorf("left: %q", h["Cookie"])
	}
}

func TestLookalikesAllocateNothing(t *testing.T) {
	h := hotHeader()
	h["Cookie"] = append(h["Cookie"], "app_session=1; back=/x?ory_kratos_session=2")
	if n := testing.AllocsPerRun(100, func() { CutLookalikes(h, "ory_kratos_session") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
