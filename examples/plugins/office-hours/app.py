"""Example rules of a shop whose people accept orders: an invoice that is asked for while the shop is closed waits until it
opens. Everything else stays as the plugin before it in the chain proposed.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, timezone

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import invoice_rules, plugin
from wit_world.imports import config, log

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class Hours:
    opens: timedelta  # since midnight, as is `closes`
    closes: timedelta
    days: set[int]  # Monday is 0
    zone: timezone
    grace: timedelta

    def next_opening(self, now: datetime) -> datetime | None:
        """When the shop opens next; none while it is open."""
        midnight = datetime.combine(now.date(), time(), self.zone)
        if now.weekday() in self.days and midnight + self.opens <= now < midnight + self.closes:
            return None
        # Eight days, because today may be the only day, and its opening over.
        openings = (midnight + timedelta(days=ahead) + self.opens for ahead in range(8))
        return next(opening for opening in openings if opening > now and opening.weekday() in self.days)


class Reader:
    """Reads settings and remembers every problem, so that the operator hears of all at once."""

    def __init__(self) -> None:
        self.problems: list[plugin.ConfigProblem] = []

    def problem(self, key: str, message: str) -> None:
        self.problems.append(plugin.ConfigProblem(key, message, []))

    def text(self, key: str) -> str:
        return config.get(key) or ""

    def minutes(self, key: str, least: int, most: int) -> timedelta:
        # The manifest says `integer`, so the host has seen to it that it is one.
        value = int(self.text(key))
        if not least <= value <= most:
            self.problem(key, f"{value} is not between {least} and {most}")
            value = least
        return timedelta(minutes=value)

    def time_of_day(self, key: str) -> timedelta:
        text = self.text(key)
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", text, re.ASCII):
            self.problem(key, f"`{text}` is no time of the day such as `09:00`")
            return timedelta()
        hour, minute = text.split(":")
        return timedelta(hours=int(hour), minutes=int(minute))

    def days(self, key: str) -> set[int]:
        words = [word.strip().lower() for word in self.text(key).split(",") if word.strip()]
        for word in words:
            if word not in DAYS:
                self.problem(key, f"`{word}` is none of {', '.join(DAYS)}")
        if not words:
            self.problem(key, "no day at all: the shop would never open")
        return {DAYS.index(word) for word in words if word in DAYS}


def read_hours() -> Hours:
    reader = Reader()
    hours = Hours(
        opens=reader.time_of_day("opens"),
        closes=reader.time_of_day("closes"),
        days=reader.days("days"),
        zone=timezone(reader.minutes("utc_offset_minutes", -720, 840)),
        grace=reader.minutes("grace_minutes", 0, 1440),
    )
    times_are_known = not {"opens", "closes"} & {problem.key for problem in reader.problems}
    if times_are_known and hours.closes <= hours.opens:
        reader.problem("closes", "is not later than `opens`: hours over midnight cannot be written")
    if reader.problems:
        raise Err(reader.problems)
    return hours


class Plugin(exports.Plugin):
    def describe(self) -> plugin.About:
        notes = "Invoices that are asked for outside office hours wait until the shop opens."
        return plugin.About("office-hours", "0.1.0", notes, [])

    def check_config(self) -> None:
        # What is raised as `Err` is the `err` of the function's result.
        read_hours()


class InvoiceRules(exports.InvoiceRules):
    def on_draft(self, call, draft):
        # With settings that have a problem the plugin does not load, so that there is none here.
        hours = read_hours()
        # The time of the call is the only one there is: a component without WASI has no clock, and `datetime.now()` ends the call.
        now = (EPOCH + timedelta(milliseconds=call.at)).astimezone(hours.zone)
        opening = hours.next_opening(now)
        if opening is None:
            return invoice_rules.DraftRuling_Accept(draft.proposed)
        until = opening + hours.grace
        # Rounded up, so that the last second is within the grace. A plugin before this one may have been more generous still.
        expires_in_s = max(draft.proposed.expires_in_s, -((now - until) // timedelta(seconds=1)))
        log.write(log.Level.INFO, f"closed: the invoice waits until {until:%Y-%m-%d %H:%M}", [])
        return invoice_rules.DraftRuling_Accept(replace(draft.proposed, expires_in_s=expires_in_s))

    def on_payment(self, call, invoice, transfers):
        if invoice.late:
            log.write(log.Level.INFO, f"{invoice.id} was paid late: a person decides", [])
            return invoice_rules.Advice.REVIEW
        return invoice_rules.Advice.SETTLE
