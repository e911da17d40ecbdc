"""A WSGI app: says whom it serves, one request a line."""

import sys


def app(environ, start_response):
    environ["wsgi.input"].read()
    line = (environ["REQUEST_METHOD"], environ.get("RAW_URI", environ["PATH_INFO"]), environ.get("HTTP_X_USER_ID", "-"))
    sys.stderr.write(" ".join(("served", *line)) + "\n")  # in one piece: several threads write
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
