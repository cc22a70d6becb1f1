#!/usr/bin/env python3
"""Runs curl with a signed request: `signed_curl.py METHOD PATH [BODY]`, such as `signed_curl.py GET /balance`.

Reads the same variables as command.py. curl sees the signature, never the secret.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

from xthonpay import sign


def main() -> None:
    """Replaces this process by curl."""
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    method, path = sys.argv[1].upper(), sys.argv[2]
    body = sys.argv[3] if len(sys.argv) == 4 else ""
    url = os.environ["XTHONPAY_BASE"].rstrip("/") + path
    timestamp = str(int(time.time()))
    scheme, secret = os.environ.get("XTHONPAY_SCHEME", "request"), os.environ["XTHONPAY_SECRET"]
    headers = {
        "X-API-Key": os.environ["XTHONPAY_KEY"],
        "X-Timestamp": timestamp,
        "X-Signature": sign(scheme, secret, timestamp, method, urlsplit(url).path, body.encode()),
    }
    command = ["curl", "--silent", "--show-error", "--request", method, url]
    if body:
        headers["Content-Type"] = "application/json"
        command += ["--data-raw", body]
    for name, value in headers.items():
        command += ["--header", f"{name}: {value}"]
    os.execvp("curl", command)


if __name__ == "__main__":
    main()
