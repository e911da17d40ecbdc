// Package integration holds the tests that look at the project from outside: a
// real Caddy process, real stores, real clients, and nothing but HTTP between
// them and the tests.
package integration
