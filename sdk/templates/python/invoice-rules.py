"""Rules for invoices: how long they wait, which are refused, and what becomes of late money.

What each function is asked and may answer stands in wit/invoice-rules.wit.
"""

from dataclasses import replace

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import invoice_rules, plugin
from wit_world.imports import config, log


class Plugin(exports.Plugin):
    def describe(self) -> plugin.About:
        return plugin.About("{{name}}", "0.1.0", "Rules for invoices.", [])

    def check_config(self) -> None:
        """Tells every problem of the settings at once.

        With any the plugin does not load, so that the hooks need not look again.
        """
        problems = []
        seconds = int(config.get("expires_in_s"))
        if not 60 <= seconds <= 2_592_000:
            problems.append(plugin.ConfigProblem("expires_in_s", f"{seconds} is not between 60 and 2592000", []))
        # What is raised as `Err` is the `err` of a function's result, and what is returned its `ok`.
        if problems:
            raise Err(problems)


class InvoiceRules(exports.InvoiceRules):
    def on_draft(self, call, draft):
        # An option that is none is None.
        if draft.external_id is None:
            log.write(log.Level.INFO, "refused an invoice without an order", [])
            refusal = invoice_rules.Refusal("order_missing", "Name the order in external_id.", [])
            return invoice_rules.DraftRuling_Refuse(refusal)
        expires_in_s = draft.requested_expiry_s
        if expires_in_s is None:
            expires_in_s = int(config.get("expires_in_s"))
        return invoice_rules.DraftRuling_Accept(replace(draft.proposed, expires_in_s=expires_in_s))

    def on_payment(self, call, invoice, transfers):
        if not invoice.late:
            return invoice_rules.Advice.SETTLE
        log.write(log.Level.INFO, f"{invoice.id} was paid late: a person decides", [])
        return invoice_rules.Advice.REVIEW
