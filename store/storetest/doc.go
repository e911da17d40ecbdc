// Package storetest is the contract of a session store as a test: a store that passes
// [Run] can be used by caddy-logout.
package storetest
