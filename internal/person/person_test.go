package person

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestCheckIdentity(t *testing.T) {
	for want, ids := range map[error][]string{
		nil:        {"a", "alice@example.com", "Alice Smith", "urn:x:1", "Zoë", "名前", "👩\u200d🔧", "a\u00a0b", "a\u200bb", strings.Repeat("a", 1000)},
		ErrEmpty:   {""},
		ErrBroken:  {"\xff", "a\xffb", "\xc2", "a\ufffd", "\xed\xa0\x80"},
		ErrControl: {"a\x00", "a\nb", "a\r\nX: y", "\ta", "a\x7f", "a\u0085b", "\u0085a", "a\u0080", "a\u009bb", "a\u2028b", "a\u2029", "a\u202eb", "\u2066a\u2069", "a\u200fb", "a\u061cb", "\ufeffa", "a\ufeff"},
		ErrBlank: {
			" ", " admin", "admin ", "\u00a0admin", "admin\u00a0", "admin\u1680", "\u2003admin", "admin\u202f", "admin\u3000", "\u205fadmin",
			"admin\u200b", "\u200badmin", "admin\u180e", "admin\u2060", "admin\u00ad",
		},
	} {
		for _, id := range ids {
			if err := CheckIdentity(id); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", id, err, want)
			}
		}
	}
	if err := CheckText(""); err != nil {
		t.Errorf("an empty text: %v", err)
	}
}

func TestCheckIdentityAllocatesNothing(t *testing.T) {
	for _, id := range []string{"alice@example.com", "Zoë Smith"} {
		if n := testing.AllocsPerRun(100, func() { _ = CheckIdentity(id) }); n > 0 {
			t.Errorf("%q: %v allocations", id, n)
		}
	}
}

func TestFlatten(t *testing.T) {
	for _, test := range []struct {
		traits string
		want   map[string]string
		err    error
	}{
		{"", nil, nil},
		{"null", nil, nil},
		{"{}", nil, nil},
		{
			`{"a":"x","n":1.50,"b":true,"z":null,"l":[1.0,{"y":"\n","x":[]}],"o":{"p":{"q":"r"}},"e":""}`,
			map[string]string{"a": "x", "n": "1.50", "b": "true", "l": `[1.0,{"x":[],"y":"\n"}]`, "o.p.q": "r", "e": ""},
			nil,
		},
		{`{"role":"a","Role":"b","o":{"x":1},"o.y":2,"o.":3}`, map[string]string{"role": "a", "Role": "b", "o.x": "1", "o.y": "2", "o.": "3"}, nil},
		{`{"a":{"b":1},"a.b.c":2}`, map[string]string{"a.b": "1", "a.b.c": "2"}, nil},
		{`[]`, nil, ErrNotObject},
		{`"x"`, nil, ErrNotObject},
		{`{"a":"x"`, nil, ErrNotObject},
		{`{"a":"x"}{}`, nil, ErrNotObject},
		{`{"a":"x",}`, nil, ErrNotObject},
		{`{"a":[}`, nil, ErrNotObject},
		{`{"org":{"role":"a"},"org.role":"b","x":1}`, map[string]string{"x": "1"}, ErrTwice},
		{`{"org.role":"b","org":{"role":"a"},"x":1}`, map[string]string{"x": "1"}, ErrTwice},
		{`{"org":{"role":null},"org.role":"b"}`, nil, ErrTwice},
		{`{"role":"a","role":"b"}`, nil, ErrTwice},
		{`{"role":"a","role":"a"}`, nil, ErrTwice},
		{`{"role":"a","role":"b","role":"c"}`, nil, ErrTwice},
		{`{"role":"a","r\u006fle":"b","x":1}`, map[string]string{"x": "1"}, ErrTwice},
		{`{"role":null,"role":"a"}`, nil, ErrTwice},
		{`{"role":"a ","role":"a"}`, nil, ErrTwice},
		{`{"org":{"role":"a"},"org":{"team":"b"},"x":1}`, map[string]string{"x": "1"}, ErrTwice},
		{`{"org":{"role":"a"},"org":"b","orgs":1}`, map[string]string{"orgs": "1"}, ErrTwice},
		{`{"a":{"b":{"c":1},"b":2,"d":3}}`, map[string]string{"a.d": "3"}, ErrTwice},
		{`{"a.b":{"c":1},"a":{"b.c":2},"x":3}`, map[string]string{"x": "3"}, ErrTwice},
		{`{"a":" admin","b":"ok"}`, map[string]string{"b": "ok"}, ErrText},
		{`{"a":"x\u0085","o":{"p":"q\u00a0","r":"\u202e"},"b":"ok"}`, map[string]string{"b": "ok"}, ErrText},
		{`{"a":"\ud800"}`, nil, ErrText},
		{"{\"a\":\"x\xff\"}", nil, ErrText},
		{`{"a":["x\u0085"," y "]}`, map[string]string{"a": "[\"x\u0085\",\" y \"]"}, nil},
	} {
		got, err := Flatten(json.RawMessage(test.traits))
		if !errors.Is(err, test.err) || !maps.Equal(got, test.want) {
			t.Errorf("%s: %q, %v, want %q, %v", test.traits, got, err, test.want, test.err)
		}
		if err := CheckTraits(json.RawMessage(test.traits)); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", test.traits, err, test.err)
		}
	}
}
