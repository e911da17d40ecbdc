package cli

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Firefox on Linux": "Firefox on Linux",
		"\x1b[31mred":      "\uFFFD[31mred",
		"a\u009bb":         "a\uFFFDb",
		"a\u202eb":         "a\uFFFDb",
		"a\xffb":           "a\uFFFDb",
		"first\nsecond":    "first\uFFFDsecond",
		"Jürgen 名":         "Jürgen 名",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
