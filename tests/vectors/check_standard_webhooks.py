"""Checks webhooks with the public package `standardwebhooks` of Python: `check_standard_webhooks.py FILE`.

FILE has the form of signatures.json beside this script. Webhooks that are marked `fresh` pass the package's whole
check, its clock included, and must fail it with one byte more. Prints how many hold; exits 1 when one does not.
"""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks import Webhook, WebhookVerificationError


def accepts(webhook: dict, body: str) -> bool:
    headers = {
        "webhook-id": webhook["id"],
        "webhook-timestamp": webhook["timestamp"],
        "webhook-signature": webhook["webhook_signature"],
    }
    try:
        Webhook(webhook["secret"]).verify(body.encode(), headers)
        return True
    except WebhookVerificationError:
        return False


def holds(webhook: dict) -> bool:
    if webhook.get("fresh"):
        return accepts(webhook, webhook["body"]) and not accepts(webhook, webhook["body"] + " ")
    sent = datetime.fromtimestamp(int(webhook["timestamp"]), tz=timezone.utc)
    return Webhook(webhook["secret"]).sign(webhook["id"], sent, webhook["body"]) == webhook["webhook_signature"]


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        webhooks = json.load(file)["webhooks"]
    wrong = [webhook for webhook in webhooks if not holds(webhook)]
    for webhook in wrong:
        print(f"does not hold: {webhook}", file=sys.stderr)
    print(len(webhooks) - len(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
