"""A merchant as the hosted product's guide describes one: its headers, its bodies, its webhook check.

Only BASE, API_KEY, SECRET and WEBHOOK_SECRET come from outside, as they would be edited in the guide's own listings. Tells
what it sees as one JSON line for each step.
"""

import hashlib
import hmac
import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

API_KEY = os.environ["API_KEY"]
SECRET = os.environ["SECRET"]
BASE = os.environ["BASE"]
WEBHOOK_SECRET = os.environ["WEBHOOK_SECRET"]

PATIENCE_S = 60

paid_orders = []
paid = threading.Event()


def make_request(method, path, body=None):
    """The guide signs the time stamp alone."""
    ts = str(int(time.time()))
    sig = hmac.new(SECRET.encode(), ts.encode(), hashlib.sha256).hexdigest()
    headers = {"X-API-Key": API_KEY, "X-Timestamp": ts, "X-Signature": sig}
    data = None
    if method == "POST":
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(BASE + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=15) as response:
        return json.load(response)


class Webhooks(BaseHTTPRequestHandler):
    """The guide's handler: verify, look at the event, answer 200."""

    def do_POST(self):
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        expected = hmac.new(WEBHOOK_SECRET.encode(), payload, hashlib.sha256).hexdigest()
        if self.headers.get("X-Xthon-Signature") != expected:
            self.reply(401)
            return
        event = json.loads(payload)
        if event["event"] == "invoice.paid":
            paid_orders.append(event["data"]["external_id"])
        self.reply(200)
        if paid_orders:
            paid.set()

    def reply(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        pass


def tell(**step):
    print(json.dumps(step), flush=True)


def main():
    server = HTTPServer(("127.0.0.1", 0), Webhooks)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    data = make_request(
        "POST",
        "/invoices",
        {
            "amount": "50.00",
            "external_id": "order_12345",
            "callback_url": f"http://127.0.0.1:{server.server_port}/webhooks/pay",
        },
    )
    tell(deposit_address=data["data"]["deposit_address"])

    tell(paid=paid.wait(PATIENCE_S), orders=paid_orders)
    tell(balance=make_request("GET", "/balance")["data"]["balance"])


if __name__ == "__main__":
    main()
