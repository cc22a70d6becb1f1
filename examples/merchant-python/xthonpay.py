"""A merchant's client of xthonpay and the check of its webhooks, with Python's standard library alone.

Made to be copied into a shop: one file, no dependencies. It covers the calls that a shop needs (make an invoice, look at
it, read the balance) and both signature schemes. It does not retry: `ApiError.retryable` says when that makes sense.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Mapping, Optional

# An answer takes milliseconds; a shop should rather show an error than hang.
TIMEOUT_S = 15

# How far the time stamp of a webhook may be from this machine's clock. Older ones may be recordings.
WEBHOOK_DRIFT_S_MAX = 300

# Answers that may be different later: too many requests, or a server that is busy or restarting.
RETRYABLE = {429, 500, 502, 503, 504}


class ApiError(Exception):
    """The server refused a call."""

    def __init__(self, status: int, error: Mapping[str, Any]):
        self.status = status
        self.code = str(error.get("code", ""))
        self.param = error.get("param")
        self.request_id = error.get("request_id")
        self.retryable = status in RETRYABLE
        super().__init__(f"{status} {self.code}: {error.get('message', '')} (request {self.request_id})")


class BadWebhook(Exception):
    """A webhook whose signature does not hold. Answer 401 and do nothing else."""


def sign(scheme: str, secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """The value of `X-Signature`.

    `request` covers the request; `path` is the path as it is sent, without the query. `timestamp` is the scheme of older
    clients and covers the time stamp alone.
    """
    if scheme == "request":
        message = f"{timestamp}\n{method}\n{path}\n".encode() + body
    elif scheme == "timestamp":
        message = timestamp.encode()
    else:
        raise ValueError(f"unknown signature scheme: {scheme}")
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Client:
    """Calls of one key. `base` ends in `/api/v1`; `scheme` is the one the key was made with."""

    def __init__(self, base: str, key: str, secret: str, scheme: str = "request"):
        self.base = base.rstrip("/")
        self.key = key
        self.secret = secret
        self.scheme = scheme

    def create_invoice(self, amount: str, **fields: Any) -> dict[str, Any]:
        """Makes an invoice; `amount` is a decimal string such as "50.00".

        Fields: `asset` (USDT unless given), `external_id`, `callback_url`, `customer`, `metadata`, `expires_in` (seconds).
        Safe to repeat with the same `external_id` and the same terms: the answer is the invoice that exists.
        """
        return self._call("POST", "/invoices", body={"amount": amount, **fields})

    def invoice(self, invoice_id: str) -> dict[str, Any]:
        """An invoice with its payments."""
        return self._call("GET", f"/invoices/{urllib.parse.quote(invoice_id, safe='')}")

    def invoices(self, **filters: Any) -> Any:
        """The newest invoices. Filters: `limit`, `cursor`, `status`, `external_id`."""
        return self._call("GET", "/invoices", query=filters)

    def balance(self) -> dict[str, Any]:
        """What the merchant has; amounts are decimal strings, never floats."""
        return self._call("GET", "/balance")

    def deposit_address(self) -> dict[str, Any]:
        """The address for money that belongs to no invoice."""
        return self._call("GET", "/deposit-address")

    def me(self) -> dict[str, Any]:
        """What this key may do."""
        return self._call("GET", "/keys/me")

    def _call(self, method: str, path: str, body: Optional[dict] = None, query: Optional[dict] = None) -> Any:
        url = self.base + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        # The bytes that are signed are the bytes that are sent.
        payload = json.dumps(body).encode() if body is not None else b""
        timestamp = str(int(time.time()))
        signed_path = urllib.parse.urlsplit(url).path
        headers = {
            "X-API-Key": self.key,
            "X-Timestamp": timestamp,
            "X-Signature": sign(self.scheme, self.secret, timestamp, method, signed_path, payload),
        }
        if payload:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=payload or None, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _error_in(error.read())) from None


def _error_in(body: bytes) -> Mapping[str, Any]:
    """The error that the server tells, or none when something between answered, such as a proxy."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, now: Optional[float] = None) -> dict[str, Any]:
    """Checks a webhook and returns its content; raises `BadWebhook` when it does not come from the server.

    `secret` is the whole `whsec_...` text and `body` the raw bytes, before any JSON is parsed. It checks the signature of
    Standard Webhooks, which covers id and time, and `X-Xthon-Signature`, which covers the body. Remember
    `headers["webhook-id"]`: the same event may come more than once.
    """
    known = {name.lower(): value for name, value in headers.items()}
    verify_xthon(secret, known.get("x-xthon-signature", ""), body)
    verify_standard(
        secret,
        known.get("webhook-id", ""),
        known.get("webhook-timestamp", ""),
        known.get("webhook-signature", ""),
        body,
        now,
    )
    return json.loads(body)


def verify_xthon(secret: str, signature: str, body: bytes) -> None:
    """Checks `X-Xthon-Signature`: the body, keyed with the text of the secret."""
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise BadWebhook("X-Xthon-Signature does not hold")


def verify_standard(
    secret: str, message_id: str, timestamp: str, signatures: str, body: bytes, now: Optional[float] = None
) -> None:
    """Checks `webhook-signature`: id, time and body, keyed with the bytes that the secret encodes."""
    try:
        age_s = (time.time() if now is None else now) - int(timestamp)
    except ValueError:
        raise BadWebhook("webhook-timestamp is no number") from None
    if abs(age_s) > WEBHOOK_DRIFT_S_MAX:
        raise BadWebhook("webhook-timestamp is too far from this machine's clock")
    expected = standard_signature(secret, message_id, timestamp, body).encode()
    # While a secret is exchanged there is one signature for each.
    if not any(hmac.compare_digest(expected, given.encode()) for given in signatures.split(" ")):
        raise BadWebhook("webhook-signature does not hold")


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """One entry of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
