// This file holds what can be changed about our pages: templates, texts and
// their language.

package caddylogout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-logout/caddy-logout/pages"
)

// Pages changes the pages that we show to people. See docs/pages.md.
type Pages struct {
	// Folder holds templates and a style sheet, named as ours, that stand in
	// place of ours: login.html, page.css and so on. It is read at start and at
	// each reload. Default: none. Placeholders are expanded at start; a relative
	// name is relative to the working directory.
	Folder string `json:"folder,omitempty"`
	// Language is the language of the texts as in HTML's lang (BCP 47), such as
	// de or pt-BR. It translates nothing. Default: en.
	Language string `json:"language,omitempty"`
	// Texts are sentences by key, such as login.button, that stand in place of
	// ours. What is in braces is a placeholder of the sentence. They are text,
	// not HTML.
	Texts map[string]string `json:"texts,omitempty"`
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler:
//
//	pages [<folder>] {
//		language <tag>
//		text     <key> <text>
//	}
func (p *Pages) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		p.Folder = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := eachOption(d, p.unmarshalOption, "text"); err != nil {
		return err
	}
	if p.Folder == "" && p.Language == "" && len(p.Texts) == 0 {
		return d.Err("pages: want a folder, or a block with language or text")
	}
	return nil
}

func (p *Pages) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "language":
		return checkedArg(d, &p.Language, pages.ValidateLanguage)
	case "text":
		var key, text string
		if !d.AllArgs(&key, &text) {
			return d.Err("text: want a key and a text in quotes")
		}
		if _, twice := p.Texts[key]; twice {
			return d.Errf("text: %s is given twice", key)
		}
		if err := pages.ValidateText(key, text); err != nil {
			return d.Errf("text: %w", err)
		}
		if p.Texts == nil {
			p.Texts = make(map[string]string)
		}
		p.Texts[key] = text
		return nil
	default:
		return d.Errf("unknown option %q of pages: want language or text", option)
	}
}

// load reads the pages.
func (p *Pages) load() (*pages.Set, error) {
	for _, key := range slices.Sorted(maps.Keys(p.Texts)) { // in order: of several mistakes, always the same is told
		if err := pages.ValidateText(key, p.Texts[key]); err != nil {
			return nil, fmt.Errorf("sessions: pages: texts: %w", err)
		}
	}
	folder, err := caddy.NewReplacer().ReplaceOrErr(p.Folder, true, true)
	if err != nil {
		return nil, fmt.Errorf("sessions: pages: %w", err)
	}
	set, err := pages.New(pages.Options{Folder: folder, Texts: p.Texts, Language: p.Language})
	if err != nil {
		return nil, fmt.Errorf("sessions: pages: %w", err)
	}
	return set, nil
}
