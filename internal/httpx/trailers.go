package httpx

import (
	"io"
	"net/http"
)

// trailerForbidden are the names that no trailer may have, besides those of a
// set: a credential in it is one that we have not looked at (RFC 9110, section
// 6.5.1, forbids both there).
var trailerForbidden = NewHeaderSet("Cookie", "Authorization")

// CutTrailers keeps the names of the set, Cookie and Authorization, in all
// spellings, out of the trailers of a request. A proxy hands trailers on, and
// some backends merge them into the header. A request that announces no trailer
// has none that a handler could see, and costs nothing here.
func (s *HeaderSet) CutTrailers(r *http.Request) {
	if r.Trailer == nil {
		return
	}
	s.deleteTrailers(r.Trailer)
	if r.Body != nil {
		r.Body = &trailerCutter{ReadCloser: r.Body, trailer: r.Trailer, names: s}
	}
}

func (s *HeaderSet) deleteTrailers(trailer http.Header) {
	s.DeleteFrom(trailer)
	trailerForbidden.DeleteFrom(trailer)
}

// trailerCutter is a body with trailers. The server writes them into the map of
// the request when the body has been read, those of HTTP/1 whether they were
// announced or not, and handlers read them after the body.
type trailerCutter struct {
	io.ReadCloser
	trailer http.Header
	names   *HeaderSet
}

// Read implements io.Reader.
func (c *trailerCutter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.names.deleteTrailers(c.trailer)
	}
	return n, err
}
