// Package returnurl decides where a browser may be redirected after logout and sign-in, by
// the URL Standard of browsers.
package returnurl
