"""Prints what has happened since the last time; run it every few seconds, or after an outage."""

from pathlib import Path

from xthonpay import call

PLACE = Path("cursor.txt")  # In a shop: a row, written in the transaction that handles the events.

more = True
while more:
    query = {"limit": 100}
    if PLACE.exists():
        query["cursor"] = PLACE.read_text()
    page = call("GET", "/api/v1/events", query=query)
    for event in page["data"]:
        print(event["id"], event["type"])
    PLACE.write_text(page["next_cursor"])
    more = page["has_more"]
