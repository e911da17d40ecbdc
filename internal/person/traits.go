package person

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// What is wrong with traits. The errors show nothing of them.
var (
	ErrNotObject = errors.New("not a JSON object")
	ErrTwice     = errors.New("two of them have one name")
	ErrText      = errors.New("a text in them begins or ends with a space, holds a control character, or is not valid UTF-8")
)

// CheckTraits says what is wrong with traits, or nil. They may be missing, or null.
func CheckTraits(raw json.RawMessage) error {
	_, err := Flatten(raw)
	return err
}

// Flatten returns the traits by the names of their placeholders: nested objects
// with dots, numbers as they were written, lists as their JSON, null not at
// all. Names of another case are other names. Ambiguous traits are left out,
// and the error says so:
//
//   - Two traits of one name, as in {"org":{"role":"a"},"org.role":"b"}, or in an
//     object that has a key twice, of which one reader takes the first and another
//     the last. All that is below such a key goes, too.
//   - A text that [CheckText] refuses. Texts in lists are not looked at.
func Flatten(raw json.RawMessage) (map[string]string, error) {
	f := flattener{flat: make(map[string]string), taken: make(map[string]bool)}
	if len(raw) == 0 || string(raw) == "null" {
		return f.flat, nil
	}
	f.decoder = json.NewDecoder(bytes.NewReader(raw))
	f.decoder.UseNumber()
	if start, err := f.decoder.Token(); err != nil || start != json.Delim('{') {
		return f.flat, ErrNotObject
	}
	err := f.object("")
	if err == nil {
		if _, err = f.decoder.Token(); errors.Is(err, io.EOF) {
			return f.flat, f.problem
		}
	}
	clear(f.flat) // half of them are no traits
	return f.flat, ErrNotObject
}

// flattener goes through the tokens of a JSON object.
type flattener struct {
	decoder *json.Decoder
	flat    map[string]string
	taken   map[string]bool // names that were given, also those of null
	problem error
}

// object reads the members of an object, to its end.
func (f *flattener) object(prefix string) error {
	keys := make(map[string]bool)
	var twice []string
	for f.decoder.More() {
		token, err := f.decoder.Token()
		if err != nil {
			return err
		}
		key := token.(string) // what the decoder calls a key is one
		if keys[key] {
			twice = append(twice, prefix+key)
		}
		keys[key] = true
		if err := f.member(prefix + key); err != nil {
			return err
		}
	}
	for _, name := range twice {
		f.problem = ErrTwice
		f.drop(name)
	}
	_, err := f.decoder.Token()
	return err
}

// drop takes out a name, and all below it.
func (f *flattener) drop(name string) {
	for have := range f.flat {
		if have == name || len(have) > len(name) && have[:len(name)] == name && have[len(name)] == '.' {
			delete(f.flat, have)
		}
	}
}

// member reads the value of a trait.
func (f *flattener) member(name string) error {
	token, err := f.decoder.Token()
	if err != nil {
		return err
	}
	var text string
	switch v := token.(type) {
	case nil:
		f.give(name, nil)
		return nil
	case string:
		if err := CheckText(v); err != nil {
			f.give(name, nil)
			if f.problem == nil {
				f.problem = ErrText
			}
			return nil
		}
		text = v
	case json.Delim:
		if v == '{' {
			return f.object(name + ".")
		}
		list, err := f.list()
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(list)
		if err != nil {
			return err
		}
		text = string(encoded)
	default:
		encoded, err := json.Marshal(v)
		if err != nil {
			return err
		}
		text = string(encoded)
	}
	f.give(name, &text)
	return nil
}

// give notes the value of a name, unless it has one: then it has none.
func (f *flattener) give(name string, text *string) {
	if f.taken[name] {
		f.problem = ErrTwice
		delete(f.flat, name)
		return
	}
	f.taken[name] = true
	if text != nil {
		f.flat[name] = *text
	}
}

// list reads the rest of a list.
func (f *flattener) list() ([]any, error) {
	list := []any{}
	for f.decoder.More() {
		var element any
		if err := f.decoder.Decode(&element); err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	_, err := f.decoder.Token()
	return list, err
}
