// A merchant's client of xthonpay and the check of its webhooks, with what Node.js 20 brings along.
//
// Made to be copied into a shop: one file, no dependencies. It signs whole requests (the scheme `request`). A client
// with `patienceMs` tries again what may succeed later, as long as trying twice does nothing twice.

import { createHmac, timingSafeEqual } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

// An answer takes milliseconds; a shop should rather show an error than hang.
const TIMEOUT_MS = 15_000;

// A page of the feed with a hundred invoices and all of their payments is smaller.
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

// How far the time stamp of a webhook may be from this machine's clock. Older ones may be recordings.
const WEBHOOK_DRIFT_S_MAX = 300;

// Answers that may be different later: too many requests, or a server that is busy or restarting.
const RETRYABLE = new Set([408, 429, 500, 502, 503, 504]);

// The same for errors whose status alone does not say so. Equal requests of one second have one signature, which counts
// once: the next one has another.
const RETRYABLE_CODES = new Set(["IDEMPOTENCY_IN_PROGRESS", "SIGNATURE_REPLAYED"]);

// Between two tries, at least. The first is above a second, so that each try has a signature of its own.
const PAUSES_MS = [1_100, 2_000, 4_000, 8_000];

// How much longer a pause may be by chance, so that many clients do not come back at the same moment.
const PAUSE_SPREAD = 0.2;

// A call did not succeed. `retryable`: the same call may succeed later, after `retryAfterMs` at the earliest.
export class CallFailed extends Error {
  retryable = false;
  retryAfterMs = 0;
}

// The server refused a call.
export class ApiError extends CallFailed {
  constructor(status, error, retryAfter) {
    const { code = "", message = "", param, request_id: requestId } = error;
    super(`${status} ${code}: ${message} (request ${requestId})`);
    Object.assign(this, { status, code, param, requestId });
    this.retryable = RETRYABLE.has(status) || RETRYABLE_CODES.has(code);
    // Seconds; the other form of the header, a date, is not used by the server.
    this.retryAfterMs = isNumber(retryAfter ?? "") ? Number(retryAfter) * 1_000 : 0;
  }
}

// Nobody answered in time, or something else than the server did. What was asked for may have happened or not.
export class NoAnswer extends CallFailed {
  retryable = true;
}

// A webhook whose signature does not hold. Answer 401 and do nothing else.
export class BadWebhook extends Error {}

// The value of `X-Signature`. `path` is the path as it is sent, without the query.
export function sign(secret, timestamp, method, path, body) {
  return createHmac("sha256", secret).update(`${timestamp}\n${method}\n${path}\n`).update(body).digest("hex");
}

// Calls of one key. `base` ends in `/api/v1`. `patienceMs` is how long a call may take with all of its tries; with 0
// there is one.
export class Client {
  #secret;

  constructor({ base, keyId, secret, patienceMs = 0, timeoutMs = TIMEOUT_MS }) {
    this.base = base.replace(/\/+$/, "");
    this.keyId = keyId;
    this.#secret = secret;
    this.patienceMs = patienceMs;
    this.timeoutMs = timeoutMs;
  }

  // Makes an invoice; `fields.amount` is a decimal string such as "50.00". Safe to repeat with the same `external_id`
  // and the same terms: the answer is the invoice that exists. With an idempotency key it is tried again.
  async createInvoice(fields, idempotencyKey) {
    return (await this.#call("POST", "/invoices", { body: fields, idempotencyKey })).data;
  }

  // The newest invoices. Filters: `limit`, `cursor`, `status`, `external_id`.
  async invoices(filters) {
    const { data } = await this.#call("GET", "/invoices", { query: filters });
    if (!Array.isArray(data)) throw new NoAnswer("GET /invoices: what was answered is no page");
    return data;
  }

  // A page of the feed behind `cursor`: `data`, `next_cursor` and `has_more`.
  async events(cursor, limit = 100) {
    const page = await this.#call("GET", "/events", { query: cursor === undefined ? { limit } : { limit, cursor } });
    if (!Array.isArray(page.data) || typeof page.next_cursor !== "string") {
      throw new NoAnswer("GET /events: what was answered is no page");
    }
    return page;
  }

  // The whole answer. Tries again while it makes sense and there is patience left.
  async #call(method, path, { body, query, idempotencyKey }) {
    const repeatable = method === "GET" || idempotencyKey !== undefined;
    const giveUp = performance.now() + this.patienceMs;
    for (let tries = 0; ; tries += 1) {
      let pause;
      try {
        return await this.#try(method, path, body, query, idempotencyKey);
      } catch (problem) {
        if (!(problem instanceof CallFailed) || !problem.retryable || !repeatable) throw problem;
        pause = Math.max(PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)], problem.retryAfterMs);
        pause *= 1 + Math.random() * PAUSE_SPREAD;
        if (performance.now() + pause > giveUp) throw problem;
      }
      await sleep(pause);
    }
  }

  async #try(method, path, body, query, idempotencyKey) {
    const url = new URL(this.base + path);
    url.search = new URLSearchParams(query).toString();
    // The bytes that are signed are the bytes that are sent.
    const payload = body === undefined ? "" : JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const headers = {
      "X-API-Key": this.keyId,
      "X-Timestamp": timestamp,
      "X-Signature": sign(this.#secret, timestamp, method, url.pathname, payload),
    };
    if (payload) headers["Content-Type"] = "application/json";
    if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
    let answer, content;
    try {
      // The server sends no redirects, and a signed request is for nobody else.
      const signal = AbortSignal.timeout(this.timeoutMs);
      answer = await fetch(url, { method, headers, body: payload || undefined, redirect: "error", signal });
      content = await textOf(answer);
    } catch (problem) {
      throw new NoAnswer(`${method} ${path}: ${problem.cause?.message ?? problem.message}`, { cause: problem });
    }
    let parsed;
    try {
      parsed = JSON.parse(content);
    } catch {
      // Something between answered, such as a proxy.
    }
    if (!answer.ok) throw new ApiError(answer.status, parsed?.error ?? {}, answer.headers.get("Retry-After"));
    if (parsed?.data === undefined) throw new NoAnswer(`${method} ${path}: the answer holds no data`);
    return parsed;
  }
}

// The body, at most so long. The signal of the call ends it when it takes too long.
async function textOf(answer) {
  const chunks = [];
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

// Whether it is a whole number of digits, and no longer than that of any second.
function isNumber(text) {
  return /^[0-9]{1,12}$/.test(text);
}

// Checks a webhook and returns its content; throws `BadWebhook` when it does not come from the server.
//
// `secret` is the whole `whsec_...` text, `headers` are by their names in lower case, and `body` is the raw bytes,
// before any JSON is parsed. It checks the signature of Standard Webhooks, which covers id, time and body. `alsoXthon`
// wants `X-Xthon-Signature` to hold as well; while a secret is exchanged, that header knows the new one alone. Remember
// `headers["webhook-id"]`: the same event may come more than once.
export function verifyWebhook(secret, headers, body, { now = Date.now() / 1_000, alsoXthon = false } = {}) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": given = "" } = headers;
  if (!id || !isNumber(timestamp)) throw new BadWebhook("webhook-id is missing, or webhook-timestamp is no number");
  if (Math.abs(now - Number(timestamp)) > WEBHOOK_DRIFT_S_MAX) {
    throw new BadWebhook("webhook-timestamp is too far from this machine's clock");
  }
  const message = createHmac("sha256", webhookKey(secret)).update(`${id}.${timestamp}.`).update(body);
  const expected = `v1,${message.digest("base64")}`;
  // While a secret is exchanged there is one signature for each.
  if (!given.split(" ").some((one) => isEqual(one, expected))) throw new BadWebhook("webhook-signature does not hold");
  if (alsoXthon) {
    const signature = createHmac("sha256", secret).update(body).digest("hex");
    const same = isEqual(headers["x-xthon-signature"] ?? "", signature);
    if (!same) throw new BadWebhook("X-Xthon-Signature does not hold");
  }
  return JSON.parse(body);
}

// The bytes that a webhook secret encodes.
export function webhookKey(secret) {
  const [, encoded] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  if (encoded === undefined) throw new Error("a webhook secret is whsec_ and base64");
  return Buffer.from(encoded, "base64");
}

// In a time that tells nothing about where the two differ.
function isEqual(left, right) {
  const [one, other] = [Buffer.from(left), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}
