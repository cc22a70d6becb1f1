#!/usr/bin/env python3
"""A complete small shop: orders, a page with the address to pay to, webhooks, and the feed. See README.md beside it.

Two things tell that an order is paid: a webhook, which is quick, and the feed of events, which forgets nothing. Both
end in `orders.py`, where an order is paid once, whichever comes first.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import traceback
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Mapping, Optional

import page
from orders import ASSET, Event, Order, Orders, is_invoice_of
from xthonpay import ApiError, BadWebhook, CallFailed, Client, NoAnswer, verify_webhook, webhook_key

PRICES = {"Tea": "4.50", "Teapot": "39", "Tea for a year": "1250.00"}

WEBHOOK_PATH = "/webhooks/xthonpay"

# A webhook is a few kilobytes, more where an invoice was paid in very many parts; a form is a line.
WEBHOOK_BYTES_MAX = 1024 * 1024
FORM_BYTES_MAX = 4 * 1024

# A browser that says nothing for so long holds no thread any more.
SOCKET_TIMEOUT_S = 10

# A customer waits for the answer; the feed's thread has time.
PAGE_TIMEOUT_S, PAGE_PATIENCE_S = 4, 4
FEED_PATIENCE_S = 60

# How often the feed is read, unless SHOP_FEED_SECONDS says otherwise.
FEED_EVERY_S = 15.0

# Orders without an invoice that are tried again at a time: a fraction of what a key may ask for in a minute.
TRIED_AGAIN_MAX = 10

# Answers that another try does not change: the terms themselves are refused.
HOPELESS = {400, 409, 422}

ORDER_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Settings:
    """What the environment says. Secrets are in files, so that no list of processes shows them."""

    base: str
    key_id: str
    secret: str
    webhook_secret: str
    host: str
    port: int
    data: Path
    url: Optional[str]
    feed_every_s: float
    both_signatures: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises `KeyError` or `ValueError` for what is missing or makes no sense."""
        host, port = environment.get("SHOP_LISTEN", "127.0.0.1:8000").rsplit(":", 1)
        webhook_secret = Path(environment["XTHONPAY_WEBHOOK_SECRET_FILE"]).read_text().strip()
        webhook_key(webhook_secret)
        return cls(
            base=environment["XTHONPAY_BASE"],
            key_id=environment["XTHONPAY_KEY_ID"],
            secret=Path(environment["XTHONPAY_SECRET_FILE"]).read_text().strip(),
            webhook_secret=webhook_secret,
            host=host,
            port=int(port),
            data=Path(environment.get("SHOP_DATA", "shop-data")),
            url=environment.get("SHOP_URL"),
            feed_every_s=float(environment.get("SHOP_FEED_SECONDS", FEED_EVERY_S)),
            both_signatures=environment.get("SHOP_BOTH_SIGNATURES") == "yes",
        )


class Shop:
    """Orders and the platform that they are paid through."""

    def __init__(self, settings: Settings, orders: Orders, own_url: str):
        self.settings = settings
        self.orders = orders
        self.callback_url = (settings.url or own_url).rstrip("/") + WEBHOOK_PATH
        account = (settings.base, settings.key_id, settings.secret)
        self.hasty = Client(*account, patience_s=PAGE_PATIENCE_S, timeout_s=PAGE_TIMEOUT_S)
        self.patient = Client(*account, patience_s=FEED_PATIENCE_S)
        # Orders whose invoices are being made, so that two threads do not ask for the same one.
        self._making: set[str] = set()
        self._making_lock = threading.Lock()

    def make_invoice(self, client: Client, order_id: str) -> None:
        """Makes the invoice of an order that has none. Raises `CallFailed` where that has to wait."""
        with self._making_lock:
            if order_id in self._making:
                return
            self._making.add(order_id)
        try:
            order = self.orders.order(order_id)
            if order is not None and order.invoice is None and order.refused is None:
                self._ask_for_invoice(client, order)
        finally:
            with self._making_lock:
                self._making.discard(order_id)

    def _ask_for_invoice(self, client: Client, order: Order) -> None:
        try:
            # The order's id twice: as the name of this call, so that it can be tried again, and as the name of the
            # invoice.
            invoice = client.create_invoice(
                order.amount,
                idempotency_key=order.order_id,
                asset=ASSET,
                external_id=order.order_id,
                callback_url=self.callback_url,
            )
        except ApiError as problem:
            if problem.retryable or problem.status not in HOPELESS:
                raise
            # An earlier call may have made it with other terms, such as another address for webhooks.
            found = client.invoices(external_id=order.order_id)
            invoice = found[0] if found else {}
            if not is_invoice_of(order.amount, invoice):
                self.orders.refuse(order.order_id, str(problem))
                say(f"order {order.order_id}: no invoice: {problem}")
                return
        if not is_invoice_of(order.amount, invoice):
            raise NoAnswer(f"order {order.order_id}: the invoice has other terms")
        self.orders.invoice_made(order.order_id, invoice)

    def order(self, order_id: str, item: str) -> None:
        """Notes an order, then makes its invoice. If that fails now, the thread of the feed does it later."""
        self.orders.place_order(order_id, item, PRICES[item])
        try:
            self.make_invoice(self.hasty, order_id)
        except CallFailed as problem:
            say(f"order {order_id}: its invoice has to wait: {problem}")

    def hear(self, headers: Mapping[str, str], body: bytes) -> None:
        """Works off a webhook. Raises `BadWebhook` for a forged one and `ValueError` for one that cannot be read."""
        content = verify_webhook(self.settings.webhook_secret, headers, body, also_xthon=self.settings.both_signatures)
        known = {name.lower(): value for name, value in headers.items()}
        # The shipped formats call the kind `event` or `type`.
        self.say_all(self.orders.hear(_event(known["webhook-id"], content.get("event", content.get("type")), content)))

    def catch_up(self) -> None:
        """Reads the feed from the place where it was left to its end."""
        more = True
        while more:
            answer = self.patient.events(self.orders.cursor())
            events = [_event(event["id"], event["type"], event) for event in answer["data"]]
            self.say_all(self.orders.turn_page(events, answer["next_cursor"]))
            more = answer["has_more"]

    def follow(self, stopping: threading.Event) -> None:
        """At start and every so often: reads the feed, and makes the invoices that are missing."""
        while not stopping.is_set():
            pause = max(self.attempt(self.catch_up), self.attempt(self.make_missing_invoices))
            stopping.wait(max(pause, self.settings.feed_every_s))

    def make_missing_invoices(self) -> None:
        """Those that could not be made when they were ordered."""
        for order in self.orders.without_invoice(TRIED_AGAIN_MAX):
            self.make_invoice(self.patient, order.order_id)

    def attempt(self, work: Any) -> float:
        """Does some work; a failure is told and costs nothing but time. Answers how long to wait at least."""
        try:
            work()
        except CallFailed as problem:
            say(f"{work.__name__}: {problem}")
            return problem.retry_after_s
        except Exception:
            # Nothing was marked as done, so the next round meets it again.
            traceback.print_exc()
        return 0.0

    @staticmethod
    def say_all(lines: list[str]) -> None:
        """What there is to say."""
        for line in lines:
            say(line)


def _event(event_id: Any, kind: Any, content: Any) -> Event:
    """An event of the feed or a webhook; `ValueError` when it is not what was promised."""
    data = content.get("data")
    if not isinstance(event_id, str) or not isinstance(kind, str) or not isinstance(data, dict):
        raise ValueError(f"event {event_id!r} cannot be read")
    return Event(event_id, kind, data)


class Handler(BaseHTTPRequestHandler):
    """HTTP, for the customers and for webhooks."""

    shop: Shop
    timeout = SOCKET_TIMEOUT_S
    server_version = "shop"
    sys_version = ""

    def do_GET(self) -> None:
        """Pages, and an order as JSON."""
        path = urllib.parse.urlsplit(self.path).path
        if path == "/":
            self.answer(200, page.shop(PRICES, ASSET), page.HEADERS)
            return
        found = re.fullmatch(r"/orders/([0-9a-f]{32})(\.json)?", path)
        order = self.shop.orders.order(found[1]) if found else None
        if found is None or order is None:
            self.answer(404, "there is nothing here\n")
        elif found[2]:
            headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
            self.answer(200, json.dumps(_as_json(order)), headers)
        else:
            self.answer(200, page.order(order), page.HEADERS)

    def do_POST(self) -> None:
        """An order, or a webhook."""
        path = urllib.parse.urlsplit(self.path).path
        if path == WEBHOOK_PATH:
            self.webhook()
        elif path == "/orders":
            self.order()
        else:
            self.answer(404, "there is nothing here\n")

    def webhook(self) -> None:
        """2xx means that it is on the disk. Everything else is sent again later, and the feed has it anyway."""
        body = self.body(WEBHOOK_BYTES_MAX)
        if body is None:
            return
        try:
            self.shop.hear(dict(self.headers.items()), body)
        except BadWebhook as problem:
            say(f"refused a webhook: {problem}")
            self.answer(401, "")
        except Exception:
            traceback.print_exc()
            self.answer(500, "")
        else:
            self.answer(204, "")

    def order(self) -> None:
        """Makes an order and shows its page."""
        body = self.body(FORM_BYTES_MAX)
        if body is None:
            return
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        order_id, item = form.get("order", ""), form.get("item", "")
        if ORDER_ID.fullmatch(order_id) is None or item not in PRICES:
            self.answer(400, "what is it that you want?\n")
            return
        self.shop.order(order_id, item)
        self.answer(303, "", {"Location": f"/orders/{order_id}"})

    def body(self, most: int) -> Optional[bytes]:
        """The body of the request; where it is too long or says no length, that is answered."""
        # Without a length there is no body, unless it comes in chunks, which nobody sends who knows what to say.
        length = self.headers.get("Content-Length", "" if "Transfer-Encoding" in self.headers else "0")
        if not length.isascii() or not length.isdigit() or len(length) > 9:
            self.answer(411, "")
        elif int(length) > most:
            self.answer(413, "")
        else:
            return self.rfile.read(int(length))
        return None

    def answer(self, status: int, text: str, headers: Optional[Mapping[str, str]] = None) -> None:
        """A whole answer."""
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: what happens to orders is the log."""


def _as_json(order: Order) -> dict[str, Any]:
    invoice = order.invoice or {}
    shown = ("invoice_id", "status", "chain", "asset", "deposit_address", "amount_missing", "expires_at")
    return {
        "order_id": order.order_id,
        "item": order.item,
        "amount": order.amount,
        "refused": order.refused is not None,
        "invoice": {name: invoice.get(name) for name in shown} if invoice else None,
        "paid": order.paid,
    }


def say(line: str) -> None:
    """A line of the log."""
    print(line, flush=True)


def main() -> int:
    """Serves until it is told to stop. Being killed at any moment does no harm."""
    try:
        settings = Settings.read(os.environ)
    except (KeyError, ValueError, OSError) as problem:
        print(f"shop: {problem!r}; README.md lists the variables", file=sys.stderr)
        return 2
    settings.data.mkdir(parents=True, exist_ok=True)
    orders = Orders(str(settings.data / "shop.sqlite3"))
    with ThreadingHTTPServer((settings.host, settings.port), Handler) as server:
        own_url = f"http://{settings.host}:{server.server_port}"
        Handler.shop = Shop(settings, orders, own_url)
        stopping = threading.Event()
        threading.Thread(target=Handler.shop.follow, args=(stopping,), daemon=True).start()
        # From another thread: this one has to leave its loop for it.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        say(f"shop at {own_url}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        stopping.set()
    return 0


if __name__ == "__main__":
    sys.exit(main())
