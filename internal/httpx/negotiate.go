package httpx

import (
	"net/http"
	"strings"
)

// maxAccept bounds the Accept header in bytes over all its lines; a longer one
// counts as absent.
const maxAccept = 8 << 10

// How closely a media range names a type (RFC 9110, section 12.5.1).
const (
	rangeAny   = iota + 1 // */*
	rangeType             // text/*, and the relatives of JSON such as application/problem+json
	rangeExact            // text/html
)

// preference is what an Accept header says of one media type: the quality, in
// thousandths, of the range that names it most closely. The zero preference says
// that it is not acceptable.
type preference struct{ quality, closeness int }

// add takes a range into account. The closest one decides; of two that are as
// close the better one.
func (p *preference) add(quality, closeness int) {
	if closeness > p.closeness || (closeness == p.closeness && quality > p.quality) {
		*p = preference{quality: quality, closeness: closeness}
	}
}

// WantsJSON reports whether the answer should be JSON rather than HTML or a
// redirect. JSON is for a body of JSON, whatever the method, and for an Accept
// header that likes application/json more than text/html: by quality, then by how
// closely it is named ("application/json, */*" is a script); in doubt it is a
// browser. A script that names nothing shows by its Sec-Fetch-Mode.
//
// No library: small, and the ones there are know neither these ties nor q=0.
func WantsJSON(r *http.Request) bool {
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.EqualFold(TrimBlanks(mediaType), "application/json") {
		return true
	}
	html, json, named := readAccept(r.Header["Accept"])
	if !named {
		mode := r.Header.Get("Sec-Fetch-Mode")
		return mode != "" && mode != "navigate"
	}
	if json.quality == 0 || json.quality != html.quality {
		return json.quality > html.quality
	}
	return json.closeness > html.closeness
}

// readAccept reads what the lines of an Accept header say of our two types.
// named is false if they hold nothing but */*.
func readAccept(lines []string) (html, json preference, named bool) {
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > maxAccept {
		return preference{}, preference{}, false
	}
	for _, line := range lines {
		for line != "" {
			var element string
			element, line = cutUnquoted(line, ',')
			mediaRange, parameters := cutUnquoted(element, ';')
			mediaRange = TrimBlanks(mediaRange)
			quality, ok := readQuality(parameters)
			if !ok || !validRange(mediaRange) {
				continue
			}
			named = named || mediaRange != "*/*"
			switch {
			case mediaRange == "*/*":
				html.add(quality, rangeAny)
				json.add(quality, rangeAny)
			case strings.EqualFold(mediaRange, "text/html"):
				html.add(quality, rangeExact)
			case strings.EqualFold(mediaRange, "text/*"):
				html.add(quality, rangeType)
			case strings.EqualFold(mediaRange, "application/json"):
				json.add(quality, rangeExact)
			case strings.EqualFold(mediaRange, "application/*"), isJSONRelative(mediaRange):
				json.add(quality, rangeType)
			}
		}
	}
	return html, json, named
}

// isJSONRelative reports whether the type is written in JSON by its suffix
// (RFC 6839, section 3.1). No browser asks for one, so who does can read JSON.
func isJSONRelative(mediaRange string) bool {
	const prefix, suffix = "application/", "+json"
	return len(mediaRange) > len(prefix)+len(suffix) &&
		strings.EqualFold(mediaRange[:len(prefix)], prefix) &&
		strings.EqualFold(mediaRange[len(mediaRange)-len(suffix):], suffix)
}

// validRange reports whether the text is type/subtype, type/* or */*.
func validRange(mediaRange string) bool {
	kind, subtype, found := strings.Cut(mediaRange, "/")
	return found && kind != "" && subtype != "" &&
		!strings.ContainsAny(mediaRange, " \t\"") && !strings.Contains(subtype, "/") &&
		(kind != "*" || subtype == "*")
}

// readQuality finds the weight among the parameters of a media range, in
// thousandths; 1000 if there is none. Other parameters (charset, level) are
// ignored: they describe variants of a type of which we have one. ok is false for
// a weight that RFC 9110, section 12.4.2, does not know.
func readQuality(parameters string) (quality int, ok bool) {
	for parameters != "" {
		var parameter string
		parameter, parameters = cutUnquoted(parameters, ';')
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(TrimBlanks(name), "q") {
			return parseQuality(TrimBlanks(value))
		}
	}
	return 1000, true
}

// parseQuality reads 0, 1, 0.5, 1.000 and the like.
func parseQuality(value string) (quality int, ok bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	if (whole != "0" && whole != "1") || len(fraction) > 3 {
		return 0, false
	}
	quality = int(whole[0]-'0') * 1000
	for i, unit := 0, 100; i < len(fraction); i, unit = i+1, unit/10 {
		c := fraction[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		quality += int(c-'0') * unit
	}
	return quality, quality <= 1000
}

// cutUnquoted splits s at the first separator that is not in a quoted string
// (RFC 9110, section 5.6.4).
func cutUnquoted(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// TrimBlanks removes the optional whitespace of RFC 9110, section 5.6.3.
func TrimBlanks(s string) string { return strings.Trim(s, " \t") }
