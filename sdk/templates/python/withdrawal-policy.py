"""A policy for withdrawals: a most for each, and a one-time code for the first one to an address.

What each function is asked and may answer stands in wit/withdrawal-policy.wit.
"""

from decimal import Decimal

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import plugin, withdrawal_policy
from wit_world.exports.withdrawal_policy import Ruling, Verdict
from wit_world.imports import config, log


class Plugin(exports.Plugin):
    def describe(self) -> plugin.About:
        return plugin.About("{{name}}", "0.1.0", "A policy for withdrawals.", [])

    def check_config(self) -> None:
        """Tells every problem of the settings at once.

        With any the plugin does not load, so that the hooks need not look again.
        """
        problems = []
        if Decimal(config.get("largest")) == 0:
            problems.append(plugin.ConfigProblem("largest", "is 0, so that every withdrawal would be denied", []))
        # What is raised as `Err` is the `err` of a function's result, and what is returned its `ok`.
        if problems:
            raise Err(problems)


class WithdrawalPolicy(exports.WithdrawalPolicy):
    def review(self, call, request):
        verdict = judge(request)
        if verdict.ruling != Ruling.ALLOW:
            log.write(log.Level.INFO, f"{request.id}: {verdict.code}", [])
        return verdict


def judge(request: withdrawal_policy.Request) -> Verdict:
    largest = config.get("largest")
    # Comparing is exact. Sums are rounded to 28 digits unless the context says otherwise.
    if Decimal(request.amount.amount) > Decimal(largest):
        symbol = request.amount.asset.split(":")[-1]
        return Verdict(Ruling.DENY, "amount_too_large", f"At most {largest} {symbol} may be withdrawn at once.", [])
    if request.destination_uses == 0:
        return Verdict(Ruling.REQUIRE_TOTP, "new_destination", "Nothing was ever withdrawn to this address.", [])
    return Verdict(Ruling.ALLOW, "", "", [])
