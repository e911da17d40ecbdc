package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-logout/caddy-logout/internal/person"
)

// printable replaces the characters that a terminal would not show. Clients, login
// services and apps choose the texts: a terminal obeys control characters, and some
// change how the rest of a line reads.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if person.Control(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// printableError is an error as a terminal may show it, nil for none.
func printableError(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(printable(err.Error()))
}

// printTable prints rows under a line of headings.
func printTable(headings []string, rows [][]string) error {
	out := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{headings}, rows...) {
		for i := range row {
			row[i] = printable(row[i])
		}
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	return out.Flush()
}

// printJSON prints JSON with indentation.
func printJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return err
	}
	_, err = stdout.Write(append(escapeJSON(out.Bytes()), '\n'))
	return err
}

// escapeJSON writes the characters of a JSON text that a terminal would obey as
// escapes. The values stay the same: outside of strings, JSON has no such character
// but the line breaks of its layout (RFC 8259, section 2), which stay. A byte that
// is not UTF-8 becomes U+FFFD, as for every reader of JSON in Go.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case person.Control(r) && r != '\n':
			out = fmt.Appendf(out, `\u%04x`, r) // all of them are in the first plane
		default:
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	return out
}
