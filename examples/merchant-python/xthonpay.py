"""A merchant's client of xthonpay and the check of its webhooks, with Python's standard library alone.

Made to be copied into a shop: one file, no dependencies. It covers the calls that a shop needs (make an invoice, look
at it, read the feed and the balance) and both signature schemes. A client with `patience_s` tries again what may
succeed later, as long as trying twice does nothing twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Mapping, Optional

# An answer takes milliseconds; a shop should rather show an error than hang.
TIMEOUT_S = 15

# A page of the feed with a hundred invoices and all of their payments is smaller.
ANSWER_BYTES_MAX = 16 * 1024 * 1024

# How much of an answer is read before the clock is looked at again.
CHUNK_BYTES = 64 * 1024

# How far the time stamp of a webhook may be from this machine's clock. Older ones may be recordings.
WEBHOOK_DRIFT_S_MAX = 300

# Answers that may be different later: too many requests, or a server that is busy or restarting.
RETRYABLE = {408, 429, 500, 502, 503, 504}

# The same for errors whose status alone does not say so. Equal requests of one second have one signature, which counts
# once: the next one has another.
RETRYABLE_CODES = {"IDEMPOTENCY_IN_PROGRESS", "SIGNATURE_REPLAYED"}

# Between two tries, at least. The first is above a second, so that each try has a signature of its own.
PAUSES_S = (1.1, 2.0, 4.0, 8.0)

# How much longer a pause may be by chance, so that many clients do not come back at the same moment.
PAUSE_SPREAD = 0.2


class CallFailed(Exception):
    """A call did not succeed. `retryable`: the same call may succeed later, after `retry_after_s` at the earliest."""

    retryable = False
    retry_after_s = 0.0


class ApiError(CallFailed):
    """The server refused a call."""

    def __init__(self, status: int, error: Mapping[str, Any], retry_after: Optional[str] = None):
        self.status = status
        self.code = str(error.get("code", ""))
        self.param = error.get("param")
        self.request_id = error.get("request_id")
        self.retryable = status in RETRYABLE or self.code in RETRYABLE_CODES
        # Seconds; the other form of the header, a date, is not used by the server.
        self.retry_after_s = float(retry_after) if retry_after is not None and _is_number(retry_after) else 0.0
        super().__init__(f"{status} {self.code}: {error.get('message', '')} (request {self.request_id})")


class NoAnswer(CallFailed):
    """Nobody answered in time, or something else than the server did. What was asked for may have happened or not."""

    retryable = True


class BadWebhook(Exception):
    """A webhook whose signature does not hold. Answer 401 and do nothing else."""


def sign(scheme: str, secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """The value of `X-Signature`.

    `request` covers the request; `path` is the path as it is sent, without the query. `timestamp` is the scheme of
    older clients and covers the time stamp alone.
    """
    if scheme == "request":
        message = f"{timestamp}\n{method}\n{path}\n".encode() + body
    elif scheme == "timestamp":
        message = timestamp.encode()
    else:
        raise ValueError(f"unknown signature scheme: {scheme}")
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The server sends no redirects, and a signed request is for nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


class Client:
    """Calls of one key. `base` ends in `/api/v1`; `scheme` is the one the key was made with.

    `patience_s` is how long a call may take with all of its tries; with 0 there is one.
    """

    def __init__(
        self,
        base: str,
        key: str,
        secret: str,
        scheme: str = "request",
        patience_s: float = 0,
        timeout_s: float = TIMEOUT_S,
    ):
        self.base = base.rstrip("/")
        self.key = key
        self.secret = secret
        self.scheme = scheme
        self.patience_s = patience_s
        self.timeout_s = timeout_s

    def create_invoice(self, amount: str, idempotency_key: Optional[str] = None, **fields: Any) -> dict[str, Any]:
        """Makes an invoice; `amount` is a decimal string such as "50.00".

        Fields: `asset` (USDT unless given), `external_id`, `callback_url`, `customer`, `metadata`, `expires_in`
        (seconds). Safe to repeat with the same `external_id` and the same terms: the answer is the invoice that exists.
        With an `idempotency_key` it is tried again.
        """
        return self._data("POST", "/invoices", body={"amount": amount, **fields}, idempotency_key=idempotency_key)

    def invoice(self, invoice_id: str) -> dict[str, Any]:
        """An invoice with its payments."""
        return self._data("GET", f"/invoices/{urllib.parse.quote(invoice_id, safe='')}")

    def invoices(self, **filters: Any) -> Any:
        """The newest invoices. Filters: `limit`, `cursor`, `status`, `external_id`."""
        return self._data("GET", "/invoices", query=filters)

    def events(self, cursor: Optional[str] = None, limit: int = 100) -> dict[str, Any]:
        """A page of the feed behind `cursor`: `data`, `next_cursor` and `has_more`."""
        page = self._call("GET", "/events", query={"limit": limit, **({} if cursor is None else {"cursor": cursor})})
        if not isinstance(page["data"], list) or not isinstance(page.get("next_cursor"), str):
            raise NoAnswer("GET /events: what was answered is no page")
        return page

    def balance(self) -> dict[str, Any]:
        """What the merchant has; amounts are decimal strings, never floats."""
        return self._data("GET", "/balance")

    def deposit_address(self) -> dict[str, Any]:
        """The address for money that belongs to no invoice."""
        return self._data("GET", "/deposit-address")

    def me(self) -> dict[str, Any]:
        """What this key may do."""
        return self._data("GET", "/keys/me")

    def _data(self, method: str, path: str, **more: Any) -> Any:
        return self._call(method, path, **more)["data"]

    def _call(
        self,
        method: str,
        path: str,
        body: Optional[dict] = None,
        query: Optional[dict] = None,
        idempotency_key: Optional[str] = None,
    ) -> dict[str, Any]:
        """The whole answer. Tries again while it makes sense and there is patience left."""
        repeatable = method == "GET" or idempotency_key is not None
        give_up = time.monotonic() + self.patience_s
        tries = 0
        while True:
            try:
                return self._try(method, path, body, query, idempotency_key)
            except CallFailed as problem:
                pause = max(PAUSES_S[min(tries, len(PAUSES_S) - 1)], problem.retry_after_s)
                pause *= 1 + random.random() * PAUSE_SPREAD
                if not (repeatable and problem.retryable) or time.monotonic() + pause > give_up:
                    raise
            tries += 1
            time.sleep(pause)

    def _try(
        self, method: str, path: str, body: Optional[dict], query: Optional[dict], idempotency_key: Optional[str]
    ) -> dict[str, Any]:
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
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        request = urllib.request.Request(url, data=payload or None, headers=headers, method=method)
        deadline = time.monotonic() + self.timeout_s
        try:
            with _opener.open(request, timeout=self.timeout_s) as response:
                answer = json.loads(_read(response, deadline))
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _error_in(error, deadline), error.headers.get("Retry-After")) from None
        # Timeouts and broken connections are OSErrors; what is no JSON, or no text, is a ValueError.
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise NoAnswer(f"{method} {path}: {problem}") from problem
        if not isinstance(answer, dict) or "data" not in answer:
            raise NoAnswer(f"{method} {path}: the answer holds no data")
        return answer


def _read(response: Any, deadline: float) -> bytes:
    """The body, at most so long and until then: the timeout of a socket is for each piece of it alone."""
    body = b""
    while chunk := response.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError("the answer is too long")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    return body


def _error_in(response: Any, deadline: float) -> Mapping[str, Any]:
    """The error that the server tells, or none when something between answered, such as a proxy."""
    try:
        error = json.loads(_read(response, deadline))["error"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def _is_number(text: str) -> bool:
    """Whether it is a whole number of ASCII digits, and no longer than that of any second."""
    return text.isascii() and text.isdigit() and len(text) <= 12


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    now: Optional[float] = None,
    also_xthon: bool = False,
) -> dict[str, Any]:
    """Checks a webhook and returns its content; raises `BadWebhook` when it does not come from the server.

    `secret` is the whole `whsec_...` text and `body` the raw bytes, before any JSON is parsed. It checks the signature
    of Standard Webhooks, which covers id, time and body. `also_xthon` wants `X-Xthon-Signature` to hold as well; while
    a secret is exchanged, that header knows the new one alone. Remember `headers["webhook-id"]`: the same event may
    come more than once.
    """
    known = {name.lower(): value for name, value in headers.items()}
    verify_standard(
        secret,
        known.get("webhook-id", ""),
        known.get("webhook-timestamp", ""),
        known.get("webhook-signature", ""),
        body,
        now,
    )
    if also_xthon:
        verify_xthon(secret, known.get("x-xthon-signature", ""), body)
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
    if not message_id or not _is_number(timestamp):
        raise BadWebhook("webhook-id is missing, or webhook-timestamp is no number")
    age_s = (time.time() if now is None else now) - int(timestamp)
    if abs(age_s) > WEBHOOK_DRIFT_S_MAX:
        raise BadWebhook("webhook-timestamp is too far from this machine's clock")
    expected = standard_signature(secret, message_id, timestamp, body).encode()
    # While a secret is exchanged there is one signature for each.
    if not any(hmac.compare_digest(expected, given.encode()) for given in signatures.split(" ")):
        raise BadWebhook("webhook-signature does not hold")


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """One entry of `webhook-signature`."""
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(webhook_key(secret), message, hashlib.sha256).digest()).decode()


def webhook_key(secret: str) -> bytes:
    """The bytes that a webhook secret encodes; raises `ValueError` when it is none."""
    if not secret.startswith("whsec_"):
        raise ValueError("a webhook secret begins with whsec_")
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is whsec_ and base64") from None
