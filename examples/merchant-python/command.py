#!/usr/bin/env python3
"""A shop on the command line: makes invoices, looks at them, and receives webhooks.

Reads XTHONPAY_BASE, XTHONPAY_KEY, XTHONPAY_SECRET, XTHONPAY_SCHEME (request unless set) and XTHONPAY_WEBHOOK_SECRET
from the environment, so that no secret stands on a command line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from xthonpay import ApiError, BadWebhook, Client, verify_webhook

# The host sends bodies of a few kilobytes.
BODY_BYTES_MAX = 64 * 1024


def client() -> Client:
    """The client of the environment."""
    scheme = os.environ.get("XTHONPAY_SCHEME", "request")
    return Client(os.environ["XTHONPAY_BASE"], os.environ["XTHONPAY_KEY"], os.environ["XTHONPAY_SECRET"], scheme)


class WebhookHandler(BaseHTTPRequestHandler):
    """Prints each event once and answers before anything slow is done."""

    seen: set[str] = set()

    def do_POST(self) -> None:
        """One delivery."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > BODY_BYTES_MAX:
            self.answer(413)
            return
        body = self.rfile.read(length)
        try:
            event = verify_webhook(os.environ["XTHONPAY_WEBHOOK_SECRET"], dict(self.headers.items()), body)
        except BadWebhook as problem:
            print(f"refused a webhook: {problem}", file=sys.stderr)
            self.answer(401)
            return
        self.answer(200)
        # Deliveries can be repeated; the id tells. A real shop keeps it in the transaction that ships the order.
        event_id = self.headers["webhook-id"]
        if event_id not in self.seen:
            self.seen.add(event_id)
            print(json.dumps({"id": event_id, **event}), flush=True)

    def answer(self, status: int) -> None:
        """An empty answer."""
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: events are the output."""


def receive(port: int) -> None:
    """Serves webhooks until it is interrupted."""
    with ThreadingHTTPServer(("127.0.0.1", port), WebhookHandler) as server:
        print(f"receiving on http://127.0.0.1:{server.server_port}/", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


def arguments() -> argparse.Namespace:
    """What the caller wants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make an invoice")
    create.add_argument("amount", help="a decimal number, such as 50.00")
    create.add_argument("--asset", help="USDT or BNB; USDT unless given")
    create.add_argument("--external-id", help="your own id of the order")
    create.add_argument("--callback-url", help="where webhooks of this invoice go")
    show = commands.add_parser("show", help="show an invoice")
    show.add_argument("invoice_id")
    commands.add_parser("list", help="show the newest invoices")
    commands.add_parser("balance", help="show what you have")
    commands.add_parser("me", help="show what the key may do")
    serve = commands.add_parser("receive", help="receive webhooks and print them")
    serve.add_argument("--port", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    """Runs one command; the exit code is 1 when the server refuses it."""
    wanted = arguments()
    if wanted.command == "receive":
        receive(wanted.port)
        return 0
    calls = {
        "create": lambda api: api.create_invoice(wanted.amount, **optional_fields(wanted)),
        "show": lambda api: api.invoice(wanted.invoice_id),
        "list": lambda api: api.invoices(),
        "balance": lambda api: api.balance(),
        "me": lambda api: api.me(),
    }
    try:
        print(json.dumps(calls[wanted.command](client()), indent=2))
    except ApiError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def optional_fields(wanted: argparse.Namespace) -> dict[str, str]:
    """The fields of `create` that were given."""
    names = ("asset", "external_id", "callback_url")
    return {name: value for name in names if (value := getattr(wanted, name)) is not None}


if __name__ == "__main__":
    sys.exit(main())
