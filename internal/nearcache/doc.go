// Package nearcache keeps the sessions that this server has looked up a moment ago, and
// serves them from memory for as long as the store is proven to report every change.
package nearcache
