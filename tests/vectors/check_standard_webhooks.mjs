// Checks webhooks with the public package `standardwebhooks`: `check_standard_webhooks.mjs TOOLS FILE`.
//
// TOOLS holds node_modules, FILE has the form of signatures.json beside this script. Webhooks that are marked `fresh` pass
// the package's whole check, its clock included, and must fail it with one byte more. Prints how many hold.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [tools, file] = process.argv.slice(2);
const { Webhook } = createRequire(join(resolve(tools), "package.json"))("standardwebhooks");
const { webhooks } = JSON.parse(readFileSync(file, "utf8"));

function accepts(webhook, body) {
  const headers = {
    "webhook-id": webhook.id,
    "webhook-timestamp": webhook.timestamp,
    "webhook-signature": webhook.webhook_signature,
  };
  try {
    new Webhook(webhook.secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

function holds(webhook) {
  if (webhook.fresh) {
    return accepts(webhook, webhook.body) && !accepts(webhook, webhook.body + " ");
  }
  const sent = new Date(Number(webhook.timestamp) * 1000);
  return new Webhook(webhook.secret).sign(webhook.id, sent, webhook.body) === webhook.webhook_signature;
}

const wrong = webhooks.filter((webhook) => !holds(webhook));
for (const webhook of wrong) {
  console.error(`does not hold: ${JSON.stringify(webhook)}`);
}
console.log(webhooks.length - wrong.length);
process.exitCode = wrong.length === 0 ? 0 : 1;
