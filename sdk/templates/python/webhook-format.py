"""The form of webhooks: JSON, without the kinds of events that the operator leaves out.

What each function is asked and may answer stands in wit/webhook-format.wit.
"""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import plugin, webhook_format
from wit_world.imports import config, log


class Plugin(exports.Plugin):
    def describe(self) -> plugin.About:
        return plugin.About("{{name}}", "0.1.0", "The form of webhooks.", [])

    def check_config(self) -> None:
        """Tells every problem of the settings at once.

        With any the plugin does not load, so that the hooks need not look again.
        """
        problems = [
            plugin.ConfigProblem("skip", f"`{kind}` is no kind of event such as `invoice.paid`", [])
            for kind in skipped_kinds()
            if not re.fullmatch("[a-z_.]+", kind)
        ]
        # What is raised as `Err` is the `err` of a function's result, and what is returned its `ok`.
        if problems:
            raise Err(problems)


class WebhookFormat(exports.WebhookFormat):
    def render(self, call, event, target):
        if event.kind in skipped_kinds():
            log.write(log.Level.INFO, f"skipped {event.kind}", [])
            # An option that is none is None: nothing is sent.
            return None
        # The data is JSON already. It goes in as it is, so that nothing in it is rounded or put in another order.
        event_id, kind = (json.dumps(text, ensure_ascii=False) for text in (event.id, event.kind))
        body = f'{{"id":{event_id},"event":{kind},"created":{event.created},"data":{event.data_json}}}'
        return webhook_format.Message("application/json", [], body.encode(), [])


def skipped_kinds() -> list[str]:
    # Lists are joined by commas.
    words = (word.strip() for word in (config.get("skip") or "").split(","))
    return [word for word in words if word]
