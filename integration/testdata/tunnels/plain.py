"""An app on Python's http.server: says whom it serves, one request a line.

With a second argument it leaves the bodies of requests unread, as many such apps do.
"""

import http.server
import sys


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        if len(sys.argv) < 3:
            self.read_body()
        # In one piece: several threads write.
        sys.stderr.write(" ".join(("served", self.command, self.path, self.headers.get("X-User-Id", "-"))) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    def read_body(self):
        length = int(self.headers.get("Content-Length") or 0)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        self.rfile.read(length)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve
    do_PROPFIND = do_OPTIONS = do_TRACE = do_CONNECT = do_PRI = serve

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
