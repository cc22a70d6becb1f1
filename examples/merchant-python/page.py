"""What customers see. Text from elsewhere is escaped; the QR code is drawn here, so that no address leaves the shop."""

from __future__ import annotations

import html
import secrets
from typing import Mapping

import segno

from orders import Order

# How often the page of an open order asks for news.
REFRESH_S = 5

# Nothing from elsewhere, no scripts, and no frames: a page that shows where money goes is not to be drawn over.
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{refresh}<title>{title}</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }}
  code {{ overflow-wrap: anywhere; font-size: 1.05rem }}
</style>
<h1>{title}</h1>
{content}
</html>
"""


def shop(prices: Mapping[str, str], asset: str) -> str:
    """The front page. Its form names the order, so that sending it twice makes one."""
    buttons = "".join(
        f'<p><button name="item" value="{html.escape(item)}">{html.escape(item)}, {price} {asset}</button></p>'
        for item, price in prices.items()
    )
    name = f'<input type="hidden" name="order" value="{new_order_id()}">'
    form = f'<form method="post" action="/orders">{name}{buttons}</form>'
    return _PAGE.format(refresh="", title="A small shop", content=form)


def new_order_id() -> str:
    """Nobody can guess it: whoever knows the address of an order's page may see it."""
    return secrets.token_hex(16)


def order(order: Order) -> str:
    """The page of an order, which looks again by itself while something may change."""
    invoice = order.invoice
    if order.paid is not None:
        return _order(order, "Paid", "<p>Thank you. It is on its way.</p>", changes=False)
    if order.refused is not None:
        return _order(order, "Not possible", "<p>This order cannot be paid. Please write to us.</p>", changes=False)
    if invoice is None:
        return _order(order, "One moment", "<p>The address to pay to is being made.</p>", changes=True)
    if invoice["status"] in ("expired", "cancelled"):
        closed = "<p>Please do not pay any more. If you have paid already, write to us: nothing is lost.</p>"
        # Late money can still be accepted.
        return _order(order, "The time is over", closed, changes=True)
    if invoice["status"] in ("confirming", "paid"):
        return _order(order, "We see your payment", "<p>It is being confirmed.</p>", changes=True)
    return _order(order, "Please pay", _how_to_pay(invoice), changes=True)


def _how_to_pay(invoice: dict) -> str:
    asset, chain = html.escape(invoice["asset"]), html.escape(invoice["chain"])
    address, due = html.escape(invoice["deposit_address"]), html.escape(invoice["amount_missing"])
    expires_at = html.escape(invoice["expires_at"])
    # The plain address: every wallet reads it. The amount is typed in from the page.
    code = segno.make(invoice["deposit_address"], error="m", micro=False).svg_inline(scale=6)
    part = ""
    if invoice["status"] == "partially_paid":
        part = f"<p>We have received {html.escape(invoice['amount_received'])} {asset}. The rest is missing.</p>"
    return (
        f"{part}<p>Send exactly <strong>{due} {asset}</strong> on the network <strong>{chain}</strong> to</p>"
        f"<p><code>{address}</code></p><p>{code}</p>"
        f"<p>until {expires_at}. Another asset or another network would be lost time for both of us.</p>"
    )


def _order(order: Order, title: str, content: str, changes: bool) -> str:
    what = f"<p>{html.escape(order.item)}, {html.escape(order.amount)}</p>"
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_S}">\n' if changes else ""
    return _PAGE.format(refresh=refresh, title=title, content=what + content)
