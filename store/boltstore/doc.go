// Package boltstore keeps sessions in one file, for a Caddy that stands alone.
package boltstore
