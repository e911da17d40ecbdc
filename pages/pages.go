// Package pages holds the HTML pages: sign-in, the question before a sign-out,
// the signed-out page, the list of sessions, and errors. They are embedded,
// need no JavaScript, and load nothing from other hosts. An operator can
// replace each by a file in a folder.
package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
)

//go:embed html
var files embed.FS

// Options say what differs from the pages that are built in.
type Options struct {
	// Folder holds templates and a style sheet that replace ours of the
	// same name. Empty: none.
	Folder string
	// Texts replace the English texts, by key.
	Texts map[string]string
	// Language is the language of the texts as in HTML's lang (BCP 47), such as
	// de or pt-BR. Empty: en.
	Language string
}

// Set is all pages, ready to be rendered. The zero Set has no pages, but all
// texts in English.
type Set struct {
	texts     map[string]string
	language  string
	own       bool // some templates are the operator's
	styleHash string
	functions template.FuncMap
	pages     map[string]*template.Template
}

// language matches the usual forms of language tags.
var language = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)

// ValidateLanguage checks a language tag by its form.
func ValidateLanguage(tag string) error {
	if !language.MatchString(tag) {
		return errors.New("want a language like de or pt-BR")
	}
	return nil
}

// New reads all pages, and renders each one: a template that does not parse, or
// that uses an unknown field or text, is an error that names the file and the
// line.
func New(o Options) (*Set, error) {
	s := &Set{texts: o.Texts, language: o.Language, own: o.Folder != "", pages: make(map[string]*template.Template)}
	if s.language == "" {
		s.language = "en"
	}
	if err := ValidateLanguage(s.language); err != nil {
		return nil, fmt.Errorf("language: %w", err)
	}
	for key, text := range o.Texts {
		if err := ValidateText(key, text); err != nil {
			return nil, err
		}
	}
	texts, err := readFiles(o.Folder)
	if err != nil {
		return nil, err
	}
	if err := s.load(texts); err != nil {
		if s.own {
			err = fmt.Errorf("in %s: %w", o.Folder, err)
		}
		return nil, err
	}
	return s, nil
}

// kind is the kind of a page, on which its headers depend.
type kind struct{ form, picture bool }

var (
	linkPage    = kind{}
	formPage    = kind{form: true}
	picturePage = kind{picture: true}
)

// policy is the Content-Security-Policy of a page: nothing may load or run but
// this style sheet, no site may frame a page (clickjacking), and no injected
// <base> may redirect the form. An operator's own pages may also show images
// and use styles and fonts of the same host, but no scripts.
func (s *Set) policy(k kind) string {
	csp := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src " + s.styleHash
	switch {
	case s.own:
		csp += " 'self'; font-src 'self'; img-src 'self' data:"
	case k.picture:
		csp += "; img-src 'self'"
	}
	// The pages with a form go without form-action: Chromium applies it to each
	// redirect that answers the form, so it would have to list not only the
	// return URL, which may be on another host, but also wherever the app
	// redirects from there.
	if !k.form {
		csp += "; form-action 'none'"
	}
	return csp
}

// render writes a page in one piece: one that cannot be made is an error before
// anything was sent. A HEAD gets the headers alone.
func (s *Set) render(w http.ResponseWriter, r *http.Request, status int, name string, data any, k kind) error {
	var body bytes.Buffer
	if err := s.pages[name].Execute(&body, data); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	// Not no-referrer where there is a form: under that, browsers send it with
	// "Origin: null" (Fetch standard, section 3.2), which tells our form from one
	// on another site no more. To another site nothing is sent either.
	referrer := "no-referrer"
	if k.form {
		referrer = "same-origin"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", s.policy(k))
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", referrer)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body.Bytes())
	return err
}
