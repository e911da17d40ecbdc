"""Says as JSON what an app on Python's http.server sees of a request. It keeps
connections, and leaves a body alone where the method has none, as most apps on
it do."""

import itertools
import json
import sys
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


COUNT = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = b""
        if self.command in ("POST", "PUT", "PATCH"):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            cookies = {n: m.value for n, m in SimpleCookie("; ".join(self.headers.get_all("Cookie") or [])).items()}
        except CookieError:
            cookies = {}
        url = urlsplit(self.path)
        answer = json.dumps({
            "count": next(COUNT),
            "method": self.command,
            "path": url.path,
            "query": url.query,
            "headers": [[name, value] for name, value in self.headers.items()],
            "cookies": cookies,
            "body": body.decode("iso-8859-1"),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
