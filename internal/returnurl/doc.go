// Package returnurl decides where a browser may be sent, by the URL Standard of browsers.
package returnurl
