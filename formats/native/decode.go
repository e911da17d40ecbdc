package native

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// decodeStored reads a stored value. The quick decoder reads what our own encoder
// writes, in one pass, and must give the same result as encoding/json
// (FuzzDecodeStored). It leaves every other spelling to encoding/json.
func decodeStored(value []byte, stored *storedSession) error {
	if decodePlain(value, stored) {
		return nil
	}
	*stored = storedSession{}
	return json.Unmarshal(value, stored)
}

// plainReader goes through a JSON text that has no escapes.
type plainReader struct {
	rest []byte
	bad  bool
}

// decodePlain reports whether it could read value. It gives up at anything but
// the fields of the schema, each once, spelled as in the schema.
func decodePlain(value []byte, stored *storedSession) bool {
	if !utf8.Valid(value) {
		return false // encoding/json would repair it
	}
	r := plainReader{rest: value}
	seen := 0
	r.object(func(name []byte) {
		field := stored.readField(&r, name)
		r.bad = r.bad || field == 0 || seen&field != 0
		seen |= field
	})
	r.space()
	return !r.bad && len(r.rest) == 0
}

// readField reads the value of a field and returns a bit of its own for it, 0
// for a name that is not in the schema.
func (s *storedSession) readField(r *plainReader, name []byte) int {
	switch string(name) {
	case "v":
		s.Version = r.digit()
		return 1 << 0
	case "id":
		s.ID = string(r.text())
		return 1 << 1
	case "identity":
		s.Identity = string(r.text())
		return 1 << 2
	case "traits":
		s.Traits = r.raw()
		return 1 << 3
	case "method":
		s.Method = string(r.text())
		return 1 << 4
	case "issued_at":
		s.IssuedAt = r.time()
		return 1 << 5
	case "authenticated_at":
		s.AuthenticatedAt = r.time()
		return 1 << 6
	case "expires_at":
		s.ExpiresAt = r.time()
		return 1 << 7
	case "device":
		seen := 0
		r.object(func(name []byte) {
			field := 0
			switch string(name) {
			case "ip_address":
				field, s.Device.IPAddress = 1, string(r.text())
			case "user_agent":
				field, s.Device.UserAgent = 2, string(r.text())
			}
			r.bad = r.bad || field == 0 || seen&field != 0
			seen |= field
		})
		return 1 << 8
	}
	return 0
}

// object calls member with each name, to read the value that follows.
func (r *plainReader) object(member func(name []byte)) {
	if r.take('{'); r.take0('}') {
		return
	}
	for !r.bad {
		name := r.text()
		r.take(':')
		member(name)
		if !r.take0(',') {
			r.take('}')
			return
		}
	}
}

func (r *plainReader) space() {
	for len(r.rest) > 0 && (r.rest[0] == ' ' || r.rest[0] == '\n' || r.rest[0] == '\t' || r.rest[0] == '\r') {
		r.rest = r.rest[1:]
	}
}

// take0 takes a character if it is the next one.
func (r *plainReader) take0(c byte) bool {
	r.space()
	if r.bad || len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// take takes a character that must be the next one.
func (r *plainReader) take(c byte) { r.bad = !r.take0(c) || r.bad }

// text takes a string without escapes.
func (r *plainReader) text() []byte {
	r.take('"')
	end := bytes.IndexByte(r.rest, '"')
	if r.bad || end < 0 {
		r.bad = true
		return nil
	}
	text := r.rest[:end]
	for _, c := range text {
		if c < ' ' || c == '\\' {
			r.bad = true
		}
	}
	r.rest = r.rest[end+1:]
	return text
}

// time takes a time, quotes and all, which is how its own method reads it.
func (r *plainReader) time() (t time.Time) {
	r.space()
	quoted := r.rest
	if text := r.text(); !r.bad {
		r.bad = t.UnmarshalJSON(quoted[:len(text)+2]) != nil
	}
	return t
}

// digit takes a number of one digit. If there is more of it, nothing that may
// follow a value follows.
func (r *plainReader) digit() int {
	r.space()
	if len(r.rest) == 0 || r.rest[0] < '0' || r.rest[0] > '9' {
		r.bad = true
		return 0
	}
	digit := int(r.rest[0] - '0')
	r.rest = r.rest[1:]
	return digit
}

// raw takes a copy of an object, whatever is in it.
func (r *plainReader) raw() json.RawMessage {
	r.space()
	depth, quoted := 0, false
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth == 0 {
			object := r.rest[:i+1]
			r.rest = r.rest[i+1:]
			r.bad = r.bad || !json.Valid(object)
			return bytes.Clone(object)
		}
	}
	r.bad = true
	return nil
}
