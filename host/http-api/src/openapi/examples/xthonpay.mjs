// Signed calls with what Node.js 18 brings along: `await call(METHOD, PATH, BODY, QUERY)`.
import { createHmac } from "node:crypto";

const URL = process.env.XTHONPAY_URL ?? "https://pay.example";
const KEY = process.env.XTHONPAY_KEY ?? "";
const SECRET = process.env.XTHONPAY_SECRET ?? "";

// Signed are the time stamp, the method, the path without its query, and the bytes of the body.
export function sign(secret, timestamp, method, path, body) {
  return createHmac("sha256", secret).update(`${timestamp}\n${method}\n${path}\n`).update(body).digest("hex");
}

// The whole answer. Throws when the call is refused, with the error that the server tells.
export async function call(method, path, body, query) {
  const payload = body === undefined ? "" : JSON.stringify(body);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const headers = {
    "X-API-Key": KEY,
    "X-Timestamp": timestamp,
    "X-Signature": sign(SECRET, timestamp, method, path, payload),
  };
  if (payload) headers["Content-Type"] = "application/json";
  const url = URL + path + (query ? `?${new URLSearchParams(query)}` : "");
  const signal = AbortSignal.timeout(15_000);
  const answer = await fetch(url, { method, headers, body: payload || undefined, signal });
  const content = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(content.error.message), content.error);
  return content;
}
