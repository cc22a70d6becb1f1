"""Signed calls with the standard library: `call(METHOD, PATH, BODY, QUERY)`."""

import hashlib
import hmac
import json
import os
import time
import urllib.parse
import urllib.request

URL = os.environ.get("XTHONPAY_URL", "https://pay.example")
KEY = os.environ.get("XTHONPAY_KEY", "")
SECRET = os.environ.get("XTHONPAY_SECRET", "")


def sign(secret, timestamp, method, path, body):
    """Signed are the time stamp, the method, the path without its query, and the bytes of the body."""
    message = f"{timestamp}\n{method}\n{path}\n".encode() + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def call(method, path, body=None, query=None):
    """The whole answer. Raises urllib.error.HTTPError when the call is refused; its body says why."""
    payload = b"" if body is None else json.dumps(body).encode()
    timestamp = str(int(time.time()))
    headers = {
        "X-API-Key": KEY,
        "X-Timestamp": timestamp,
        "X-Signature": sign(SECRET, timestamp, method, path, payload),
    }
    if payload:
        headers["Content-Type"] = "application/json"
    url = URL + path + ("?" + urllib.parse.urlencode(query) if query else "")
    request = urllib.request.Request(url, data=payload or None, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)
