// Package httpx reads and cleans HTTP requests, and watches responses: cookies and headers
// that a backend may read otherwise than we do, content negotiation, and fetch metadata.
package httpx
