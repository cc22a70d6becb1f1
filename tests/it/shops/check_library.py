"""Counts the vectors for which the library is right.

That is: what it signs, and what it verifies and no longer does when something differs.
"""

import json
from xthonpay import BadWebhook, sign, verify_webhook

with open("vectors.json", encoding="utf-8") as file:
    vectors = json.load(file)


def signature(v):
    return sign(v["scheme"], v["secret"], v["timestamp"], v["method"], v["path"], v["body"].encode())


signed = [v for v in vectors["requests"] if v["scheme"] == "request" and signature(v) == v["signature"]]


def holds(secret, headers, body, now, also_xthon=True):
    try:
        verify_webhook(secret, headers, body, now, also_xthon)
    except BadWebhook:
        return False
    except ValueError:
        pass  # The signature holds; not every vector is JSON.
    return True


def right(v):
    headers = {"Webhook-Id": v["id"], "webhook-timestamp": v["timestamp"],
               "webhook-signature": "v1,x " + v["webhook_signature"], "X-Xthon-Signature": v["xthon_signature"]}
    body, now = v["body"].encode(), int(v["timestamp"])
    wrong = [
        holds(v["secret"], headers, body + b" ", now),
        holds(v["secret"], headers, body, now + 301),
        holds(v["secret"], headers, body, now - 301),
        holds(v["secret"], {**headers, "webhook-signature": "v1,x"}, body, now),
        holds(v["secret"], {**headers, "Webhook-Id": "evt_0"}, body, now),
        holds(v["secret"], {**headers, "X-Xthon-Signature": "00"}, body, now),
        holds(v["secret"], {}, body, now),
    ]
    without = {**headers, "X-Xthon-Signature": ""}
    return holds(v["secret"], headers, body, now) and holds(v["secret"], without, body, now, False) and not any(wrong)


print(f"{len(signed)} signed, {sum(map(right, vectors['webhooks']))} verified")
