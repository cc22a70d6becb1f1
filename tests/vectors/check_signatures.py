"""Checks signatures with Python's hmac: `check_signatures.py FILE`.

FILE has the form of signatures.json beside this script. Prints how many signatures hold; exits 1 when one does not.
"""

import base64
import hashlib
import hmac
import json
import sys


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def request_signature(case: dict) -> str:
    if case["scheme"] == "request":
        message = f"{case['timestamp']}\n{case['method']}\n{case['path']}\n{case['body']}"
    else:
        message = case["timestamp"]
    return hmac_sha256(case["secret"].encode(), message.encode()).hex()


def webhook_signatures(case: dict) -> tuple[str, str]:
    secret, body = case["secret"], case["body"].encode()
    standard_key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{case['id']}.{case['timestamp']}.".encode() + body
    standard = "v1," + base64.b64encode(hmac_sha256(standard_key, signed)).decode()
    return hmac_sha256(secret.encode(), body).hex(), standard


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    wrong = [case for case in cases["requests"] if request_signature(case) != case["signature"]]
    wrong += [
        case
        for case in cases["webhooks"]
        if webhook_signatures(case) != (case["xthon_signature"], case["webhook_signature"])
    ]
    for case in wrong:
        print(f"does not hold: {case}", file=sys.stderr)
    print(len(cases["requests"]) + 2 * len(cases["webhooks"]) - len(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
