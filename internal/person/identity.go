// Package person has the rules for the id and the traits of a person: texts
// that mean the same to us, to a proxy, to an app and to a terminal.
package person

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is wrong with a text. The errors show nothing of it.
var (
	ErrEmpty   = errors.New("is empty")
	ErrBlank   = errors.New("begins or ends with a space, or with a character that is not seen")
	ErrControl = errors.New("holds a control character")
	ErrBroken  = errors.New("is not valid UTF-8, or holds U+FFFD, which is what is left of a broken character")
)

// CheckIdentity says what is wrong with the id of a person, or nil. Letters of
// another case, and the composed and the decomposed form of one, are other ids:
// an app that folds them has to fold them before it signs anybody in.
func CheckIdentity(id string) error {
	if id == "" {
		return ErrEmpty
	}
	return CheckText(id)
}

// CheckText says what is wrong with a text that becomes the value of a header,
// or nil. Servers trim whitespace from values (RFC 9110, section 5.5), and some
// apps trim more than others: " admin" would be admin. So any character that
// one of them may trim is refused at the ends: Unicode's White_Space, and
// formatting characters, some of which were white space in older versions of
// Unicode.
func CheckText(text string) error {
	if plain(text) {
		return nil
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, unicode.ReplacementChar) {
		return ErrBroken
	}
	if strings.ContainsFunc(text, Control) {
		return ErrControl
	}
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	if blank(first) || blank(last) {
		return ErrBlank
	}
	return nil
}

// plain reports whether a text is of visible ASCII alone, which most are.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// Control reports whether a character does something instead of being shown: the
// control characters of ASCII and of Latin-1 (C1, with U+0085), which terminals
// obey, line and paragraph separators, what changes the direction of writing, by
// which one text looks like another, and the byte order mark.
func Control(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufeff' || unicode.Is(unicode.Bidi_Control, r)
}
