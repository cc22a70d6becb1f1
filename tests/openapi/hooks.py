"""Lets schemathesis call a host: signs each request as it goes out, and gives every second call an id that exists.

Reads from the environment: XTHONPAY_URL, XTHONPAY_KEY, XTHONPAY_SECRET, and XTHONPAY_IDS, a JSON object from a resource's name
in paths to a list of ids.
"""

import hashlib
import hmac
import itertools
import json
import os
import time
from urllib.parse import urlsplit

import requests
import schemathesis

KEY, SECRET = os.environ["XTHONPAY_KEY"], os.environ["XTHONPAY_SECRET"]
IDS = json.loads(os.environ["XTHONPAY_IDS"])

# A signature is good for 300 s around the host's clock, and once. Stamps that go round within that window keep equal calls of
# one second apart.
STAMPS = 500

signed = itertools.count()
called = itertools.count()


class Signature(requests.auth.AuthBase):
    """Signs what is really sent: the bytes of the body and the encoded path are known only then."""

    def __call__(self, request):
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        stamp = str(int(time.time()) - STAMPS // 2 + next(signed) % STAMPS)
        message = f"{stamp}\n{request.method}\n{urlsplit(request.url).path}\n".encode() + body
        request.headers["X-API-Key"] = KEY
        request.headers["X-Timestamp"] = stamp
        request.headers["X-Signature"] = hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()
        return request


schemathesis.auth.set_from_requests(Signature())


@schemathesis.hook
def before_call(context, case, kwargs):
    """Random ids lead to 404 alone."""
    parts = case.operation.path.split("/")
    if "{id}" not in parts:
        return
    count = next(called)
    known = IDS.get(parts[parts.index("{id}") - 1])
    if known and count % 2 == 0:
        case.path_parameters["id"] = known[count // 2 % len(known)]
