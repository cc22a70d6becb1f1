"""What the shop knows: its orders, the events that it has heard of, and its place in the feed. One SQLite file.

Each fact is one transaction, on the disk before anything is answered. What an event does, that it was seen, and the
place in the feed behind it stand or fall together: whenever the shop is killed, nothing is lost and nothing is done
twice.

Nothing here talks to anybody.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Iterator, Optional

# In which way the shop heard of an event.
WEBHOOK, FEED = "webhook", "feed"

# What every price of the shop is in.
ASSET = "USDT"

# How long ids of events are kept. A delivery is repeated for days, and by hand whenever somebody wants; an order that
# is paid is never paid again, however old the event is.
SEEN_FOR_S = 30 * 24 * 3600

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    order_id   TEXT PRIMARY KEY,
    item       TEXT NOT NULL,
    amount     TEXT NOT NULL,
    placed_at  REAL NOT NULL,
    invoice_id TEXT UNIQUE,
    invoice    TEXT,          -- as it was told last, as JSON
    refused    TEXT,          -- why there will be no invoice
    paid_by    TEXT,          -- the event that paid it
    paid_way   TEXT,
    paid_at    REAL
);
CREATE INDEX IF NOT EXISTS orders_to_invoice ON orders (placed_at) WHERE invoice_id IS NULL AND refused IS NULL;
CREATE TABLE IF NOT EXISTS seen (
    event_id TEXT PRIMARY KEY,
    at       REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS place (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    cursor TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Order:
    """An order as it is now. `amount` is a decimal string."""

    order_id: str
    item: str
    amount: str
    invoice: Optional[dict[str, Any]]
    refused: Optional[str]
    paid: Optional[dict[str, Any]]


@dataclass(frozen=True)
class Event:
    """Something that happened: `data` is its subject as it was then."""

    event_id: str
    kind: str
    data: dict[str, Any]


class Orders:
    """The file. One connection, used by one thread at a time."""

    def __init__(self, path: str):
        self._lock = threading.Lock()
        # Transactions are begun by hand.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        # What was committed survives a power cut.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # A full disk can end the transaction by itself.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def place_order(self, order_id: str, item: str, amount: str) -> None:
        """Notes an order. One that is there stays as it is: a browser may send its form twice."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO orders (order_id, item, amount, placed_at) VALUES (?, ?, ?, ?)",
                (order_id, item, amount, time.time()),
            )

    def order(self, order_id: str) -> Optional[Order]:
        """An order, if there is one."""
        with self._lock:
            row = self._database.execute("SELECT * FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return None if row is None else _order(row)

    def without_invoice(self, limit: int) -> list[Order]:
        """The newest orders that wait for an invoice: their customers are the likeliest to be there still."""
        query = (
            "SELECT * FROM orders WHERE invoice_id IS NULL AND refused IS NULL ORDER BY placed_at DESC LIMIT ?"
        )
        with self._lock:
            return [_order(row) for row in self._database.execute(query, (limit,)).fetchall()]

    def invoice_made(self, order_id: str, invoice: dict[str, Any]) -> None:
        """Notes the invoice of an order. What events have told of it already is newer and stays."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET invoice_id = ?, invoice = ? WHERE order_id = ? AND invoice_id IS NULL",
                (invoice["invoice_id"], json.dumps(invoice), order_id),
            )

    def refuse(self, order_id: str, why: str) -> None:
        """Notes that an order gets no invoice."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET refused = ? WHERE order_id = ? AND invoice_id IS NULL", (why, order_id)
            )

    def cursor(self) -> Optional[str]:
        """The place in the feed up to which everything is worked off."""
        with self._lock:
            row = self._database.execute("SELECT cursor FROM place").fetchone()
        return None if row is None else row["cursor"]

    def hear(self, event: Event) -> list[str]:
        """Works off an event that a webhook told. Says what there is to say about it."""
        with self._transaction() as database:
            # What was heard before is not worked off again; the feed may have told newer things since.
            return _work_off(database, event, WEBHOOK) if _is_new(database, event) else []

    def turn_page(self, events: list[Event], cursor: str) -> list[str]:
        """Works off a page of the feed and moves the place behind it, in one transaction."""
        said = []
        with self._transaction() as database:
            for event in events:
                # The feed has the true order: what it says of an invoice holds, heard before or not.
                _is_new(database, event)
                said += _work_off(database, event, FEED)
            database.execute("INSERT OR REPLACE INTO place (only, cursor) VALUES (1, ?)", (cursor,))
            database.execute("DELETE FROM seen WHERE at < ?", (time.time() - SEEN_FOR_S,))
        return said


def _is_new(database: sqlite3.Connection, event: Event) -> bool:
    """Whether nothing was heard of this event before; from now on it was."""
    query = "INSERT OR IGNORE INTO seen (event_id, at) VALUES (?, ?)"
    return database.execute(query, (event.event_id, time.time())).rowcount == 1


def _work_off(database: sqlite3.Connection, event: Event, way: str) -> list[str]:
    """What an event does, inside of a transaction."""
    invoice = event.data
    if not event.kind.startswith("invoice.") or not isinstance(invoice.get("external_id"), str):
        return []
    row = database.execute("SELECT * FROM orders WHERE order_id = ?", (invoice["external_id"],)).fetchone()
    if row is None:
        # The key is used by another program too.
        return []
    # An order whose call got no answer learns here that its invoice exists.
    if row["invoice_id"] not in (None, invoice["invoice_id"]) or not is_invoice_of(row["amount"], invoice):
        return [f"order {row['order_id']}: {event.event_id} is about another invoice or other terms: look at it"]
    database.execute(
        "UPDATE orders SET invoice_id = ?, invoice = ?, refused = NULL WHERE order_id = ?",
        (invoice["invoice_id"], json.dumps(invoice), row["order_id"]),
    )
    if event.kind == "invoice.needs_review":
        return [f"order {row['order_id']}: somebody should look at {invoice['invoice_id']}"]
    if event.kind != "invoice.paid":
        return []
    # Here the order is paid: once, whoever tells of it and however often. Whatever has to happen with it, such as a
    # parcel to send, is written in this transaction and done afterwards from there.
    paid = database.execute(
        "UPDATE orders SET paid_by = ?, paid_way = ?, paid_at = ? WHERE order_id = ? AND paid_by IS NULL",
        (event.event_id, way, time.time(), row["order_id"]),
    )
    return [f"order {row['order_id']}: paid, says the {way}"] if paid.rowcount == 1 else []


def is_invoice_of(amount: str, invoice: dict[str, Any]) -> bool:
    """Whether an invoice asks for what an order costs."""
    try:
        return Decimal(invoice["amount"]) == Decimal(amount) and invoice["asset"] == ASSET
    except (InvalidOperation, KeyError, TypeError):
        return False


def _order(row: sqlite3.Row) -> Order:
    paid = {"event_id": row["paid_by"], "way": row["paid_way"], "at": row["paid_at"]}
    return Order(
        order_id=row["order_id"],
        item=row["item"],
        amount=row["amount"],
        invoice=None if row["invoice"] is None else json.loads(row["invoice"]),
        refused=row["refused"],
        paid=None if row["paid_by"] is None else paid,
    )
