// Receives webhooks. Needs XTHONPAY_WEBHOOK_SECRET, the whole `whsec_...` text.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const SECRET = process.env.XTHONPAY_WEBHOOK_SECRET ?? "";

// Whether a delivery is genuine and fresh. `headers` by their names in lower case, `body` as the bytes that came.
export function verify(secret, headers, body, now = Date.now() / 1000) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": given = "" } = headers;
  if (!/^[0-9]+$/.test(timestamp) || Math.abs(now - Number(timestamp)) > 300) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = "v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  // While a secret is exchanged, there is one signature for each of the two.
  return given.split(" ").some((one) => {
    const [left, right] = [Buffer.from(one), Buffer.from(expected)];
    return left.length === right.length && timingSafeEqual(left, right);
  });
}

const seen = new Set(); // In a shop: a table, written in the transaction that ships the order.

async function receive(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const genuine = verify(SECRET, request.headers, body);
  response.writeHead(genuine ? 200 : 401).end();
  // A delivery can come more than once; its id stays the same.
  if (genuine && !seen.has(request.headers["webhook-id"])) {
    seen.add(request.headers["webhook-id"]);
    console.log(JSON.parse(body).event);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) createServer(receive).listen(9000, "127.0.0.1");
