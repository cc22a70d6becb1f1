"""Receives webhooks. Needs XTHONPAY_WEBHOOK_SECRET, the whole `whsec_...` text."""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("XTHONPAY_WEBHOOK_SECRET", "")


def verify(secret, headers, body, now=None):
    """Whether a delivery is genuine and fresh. `headers` by their names in lower case, `body` as the bytes that came."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs((now or time.time()) - int(timestamp)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    # While a secret is exchanged, there is one signature for each of the two.
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


class Receiver(BaseHTTPRequestHandler):
    seen = set()  # In a shop: a table, written in the transaction that ships the order.

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 65536))
        headers = {name.lower(): value for name, value in self.headers.items()}
        genuine = verify(SECRET, headers, body)
        self.send_response(200 if genuine else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()
        # A delivery can come more than once; its id stays the same.
        if genuine and headers["webhook-id"] not in self.seen:
            self.seen.add(headers["webhook-id"])
            print(json.loads(body)["event"], flush=True)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9000), Receiver).serve_forever()
