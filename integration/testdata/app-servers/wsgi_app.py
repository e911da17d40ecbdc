"""Says as JSON what a WSGI app sees of a request."""

import itertools
import json
import sys
from http.cookies import CookieError, SimpleCookie


COUNT = itertools.count(1)


def application(environ, start_response):
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    body = environ["wsgi.input"]
    # Without a length only some servers say where the body ends.
    body = body.read() if environ.get("wsgi.input_terminated") else body.read(length) if length else b""
    try:
        cookies = {name: morsel.value for name, morsel in SimpleCookie(environ.get("HTTP_COOKIE", "")).items()}
    except CookieError:
        cookies = {}
    seen = {
        "count": next(COUNT),
        "method": environ["REQUEST_METHOD"],
        "path": environ.get("PATH_INFO", ""),
        "query": environ.get("QUERY_STRING", ""),
        "vars": {name: value for name, value in environ.items() if isinstance(value, str)},
        "cookies": cookies,
        "body": body.decode("iso-8859-1"),
    }
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


if __name__ == "__main__":
    import os
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    # What the process inherits is no part of what came with a request.
    os.environ.clear()
    WSGIRequestHandler.log_message = lambda *_: None
    make_server("127.0.0.1", int(sys.argv[1]), application, server_class=Server).serve_forever()
