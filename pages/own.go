package pages

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	texttemplate "text/template"
	"unicode/utf8"
)

// maxFile bounds one file of the folder, in bytes.
const maxFile = 1 << 20

// readFiles returns the text of every file, the one in the folder before ours.
func readFiles(folder string) (map[string]string, error) {
	texts := make(map[string]string)
	ours, err := files.ReadDir("html")
	if err != nil {
		return nil, err
	}
	for _, entry := range ours {
		text, err := files.ReadFile("html/" + entry.Name())
		if err != nil {
			return nil, err
		}
		texts[entry.Name()] = string(text)
	}
	if folder == "" {
		return texts, nil
	}
	// A root: no symbolic link in it leads out of it.
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // it was only read
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if path.Ext(name) != ".html" && path.Ext(name) != ".css" {
			continue
		}
		if _, ok := texts[name]; !ok {
			return nil, fmt.Errorf("%s is the name of no page: want %s", name, list(slices.Sorted(maps.Keys(texts))))
		}
		if texts[name], err = readOwn(root, name); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func readOwn(root *os.Root, name string) (string, error) {
	// Before it is opened: opening a pipe would wait for its writer.
	if info, err := root.Stat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", name)
	}
	file, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(text) > maxFile:
		return "", fmt.Errorf("%s is larger than 1 MiB", name)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s is not UTF-8", name)
	}
	return string(text), nil
}

// load parses every page and renders it.
func (s *Set) load(texts map[string]string) error {
	css := texts["page.css"]
	if strings.Contains(strings.ToLower(css), "</style") {
		return errors.New("page.css: it stands in a <style> element, so it cannot hold </style")
	}
	sum := sha256.Sum256([]byte(css))
	s.styleHash = "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	s.functions = template.FuncMap{
		"css":  func() template.CSS { return template.CSS(css) }, //nolint:gosec // it is ours, or the operator's
		"lang": func() string { return s.language },
		"text": s.text,
	}
	for _, name := range slices.Sorted(maps.Keys(samples)) { // in order: several mistakes always give the same error
		sample := samples[name]
		page, err := s.parse(name, texts)
		if err != nil {
			return err
		}
		if err := s.tryAll(name, texts, page.Name(), sample); err != nil {
			return err
		}
		// This also finds values that cannot be escaped.
		for _, data := range []any{sample.full, sample.empty} {
			if err := page.Execute(io.Discard, data); err != nil {
				return err
			}
		}
		s.pages[name] = page
	}
	return nil
}

// parse reads a page: its own file and the shared ones. One that defines neither
// "title" nor "main" is a whole page and goes without the layout.
func (s *Set) parse(name string, texts map[string]string) (*template.Template, error) {
	page := template.New("").Funcs(s.functions)
	for _, file := range parts(name) {
		// A CRLF counts as a line end, as in HTML, on whatever system
		// the file was written.
		if _, err := page.New(file).Parse(strings.ReplaceAll(texts[file], "\r\n", "\n")); err != nil {
			return nil, err
		}
	}
	if page.Lookup("main") == nil && page.Lookup("title") == nil {
		return page.Lookup(name), nil
	}
	return page.Lookup("layout.html"), nil
}

func parts(name string) []string { return []string{"layout.html", "icons.html", name} }

// tryAll runs a page through all its branches, so that a field that is not
// there is found now, and not when a person gets there.
func (s *Set) tryAll(name string, texts map[string]string, start string, sample sample) error {
	page := texttemplate.New("").Funcs(s.functions).Funcs(eager)
	for _, file := range parts(name) {
		if _, err := page.New(file).Parse(strings.ReplaceAll(texts[file], "\r\n", "\n")); err != nil {
			return err
		}
	}
	for _, t := range page.Templates() {
		if t.Tree != nil {
			straighten(t.Root)
		}
	}
	var out bytes.Buffer
	return page.ExecuteTemplate(&out, start, sample.full)
}
