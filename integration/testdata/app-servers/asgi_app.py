"""Says as JSON what an ASGI app sees of a request."""

import itertools
import json
from http.cookies import CookieError, SimpleCookie


COUNT = itertools.count(1)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [[name.decode("iso-8859-1"), value.decode("iso-8859-1")] for name, value in scope["headers"]]
    try:
        cookies = {n: m.value for n, m in SimpleCookie("; ".join(v for n, v in headers if n == "cookie")).items()}
    except CookieError:
        cookies = {}
    answer = json.dumps({
        "count": next(COUNT),
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("iso-8859-1"),
        "headers": headers,
        "cookies": cookies,
        "body": body.decode("iso-8859-1"),
    }).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})
