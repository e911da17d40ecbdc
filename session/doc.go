// Package session says what a session is, and what a store of sessions has to keep: the
// words that all other packages share. It needs the standard library only.
package session
