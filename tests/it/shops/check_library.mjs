// Counts the vectors for which the library is right: what is signed, and what is verified and no longer is when
// something differs.

import { readFileSync } from "node:fs";
import { BadWebhook, sign, verifyWebhook } from "./xthonpay.mjs";

const vectors = JSON.parse(readFileSync("vectors.json", "utf8"));
const signed = vectors.requests.filter(
  (v) => v.scheme === "request" && sign(v.secret, v.timestamp, v.method, v.path, v.body) === v.signature,
);

function holds(secret, headers, body, now, alsoXthon = true) {
  try {
    verifyWebhook(secret, headers, body, { now, alsoXthon });
  } catch (problem) {
    // Otherwise the signature holds; not every vector is JSON.
    if (problem instanceof BadWebhook) return false;
  }
  return true;
}

const verified = vectors.webhooks.filter((v) => {
  const headers = {
    "webhook-id": v.id,
    "webhook-timestamp": v.timestamp,
    "webhook-signature": `v1,x ${v.webhook_signature}`,
    "x-xthon-signature": v.xthon_signature,
  };
  const [body, now] = [Buffer.from(v.body), Number(v.timestamp)];
  const wrong = [
    holds(v.secret, headers, Buffer.concat([body, Buffer.from(" ")]), now),
    holds(v.secret, headers, body, now + 301),
    holds(v.secret, headers, body, now - 301),
    holds(v.secret, { ...headers, "webhook-signature": "v1,x" }, body, now),
    holds(v.secret, { ...headers, "webhook-id": "evt_0" }, body, now),
    holds(v.secret, { ...headers, "x-xthon-signature": "00" }, body, now),
    holds(v.secret, {}, body, now),
  ];
  const without = { ...headers, "x-xthon-signature": "" };
  return holds(v.secret, headers, body, now) && holds(v.secret, without, body, now, false) && !wrong.some(Boolean);
});
console.log(`${signed.length} signed, ${verified.length} verified`);
