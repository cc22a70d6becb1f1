#!/usr/bin/env node
// A complete small shop: orders, a page with the address to pay to, webhooks, and the feed. See README.md beside it.
//
// Two things tell that an order is paid: a webhook, which is quick, and the feed of events, which forgets nothing. Both
// end in `orders.mjs`, where an order is paid once, whichever comes first.

import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { ASSET, isInvoiceOf, Orders } from "./orders.mjs";
import { HEADERS, orderPage, shopPage } from "./page.mjs";
import { ApiError, BadWebhook, CallFailed, Client, NoAnswer, verifyWebhook, webhookKey } from "./xthonpay.mjs";

const PRICES = new Map([["Tea", "4.50"], ["Teapot", "39"], ["Tea for a year", "1250.00"]]);

const WEBHOOK_PATH = "/webhooks/xthonpay";

// A webhook is a few kilobytes, more where an invoice was paid in very many parts; a form is a line.
const WEBHOOK_BYTES_MAX = 1024 * 1024;
const FORM_BYTES_MAX = 4 * 1024;

// A browser that takes longer to send its request holds no connection any more.
const REQUEST_TIMEOUT_MS = 10_000;

// A customer waits for the answer; whoever reads the feed has time.
const [PAGE_TIMEOUT_MS, PAGE_PATIENCE_MS] = [4_000, 4_000];
const FEED_PATIENCE_MS = 60_000;

// How often the feed is read, unless SHOP_FEED_SECONDS says otherwise.
const FEED_EVERY_S = 15;

// Orders without an invoice that are tried again at a time: a fraction of what a key may ask for in a minute.
const TRIED_AGAIN_MAX = 10;

// Answers that another try does not change: the terms themselves are refused.
const HOPELESS = new Set([400, 409, 422]);

// What the environment says. Secrets are in files, so that no list of processes shows them.
function settingsOf(environment) {
  const needed = (name) => {
    if (!environment[name]) throw new Error(`${name} is not set`);
    return environment[name];
  };
  const secretOf = (name) => readFileSync(needed(name), "utf8").trim();
  const [, host, port] = /^(.+):([0-9]+)$/.exec(environment.SHOP_LISTEN ?? "127.0.0.1:8000") ?? [];
  if (host === undefined) throw new Error("SHOP_LISTEN is no address and port");
  const feedEveryMs = Number(environment.SHOP_FEED_SECONDS ?? FEED_EVERY_S) * 1_000;
  if (!(feedEveryMs > 0)) throw new Error("SHOP_FEED_SECONDS is no number of seconds");
  const webhookSecret = secretOf("XTHONPAY_WEBHOOK_SECRET_FILE");
  webhookKey(webhookSecret);
  return {
    account: {
      base: needed("XTHONPAY_BASE"),
      keyId: needed("XTHONPAY_KEY_ID"),
      secret: secretOf("XTHONPAY_SECRET_FILE"),
    },
    webhookSecret,
    host,
    port: Number(port),
    data: environment.SHOP_DATA ?? "shop-data",
    url: environment.SHOP_URL,
    feedEveryMs,
    bothSignatures: environment.SHOP_BOTH_SIGNATURES === "yes",
  };
}

// Orders and the platform that they are paid through.
class Shop {
  constructor(settings, orders, ownUrl) {
    this.settings = settings;
    this.orders = orders;
    this.callbackUrl = (settings.url ?? ownUrl).replace(/\/+$/, "") + WEBHOOK_PATH;
    this.hasty = new Client({ ...settings.account, patienceMs: PAGE_PATIENCE_MS, timeoutMs: PAGE_TIMEOUT_MS });
    this.patient = new Client({ ...settings.account, patienceMs: FEED_PATIENCE_MS });
    // Orders whose invoices are being made, so that nobody asks for the same one at the same time.
    this.making = new Set();
  }

  // Makes the invoice of an order that has none. Where that has to wait, it throws `CallFailed` and nothing has
  // changed.
  async makeInvoice(client, id) {
    const order = this.orders.order(id);
    if (order.invoice || order.refused || this.making.has(id)) return;
    this.making.add(id);
    try {
      await this.askForInvoice(client, order);
    } finally {
      this.making.delete(id);
    }
  }

  async askForInvoice(client, order) {
    const terms = { amount: order.amount, asset: ASSET, external_id: order.id, callback_url: this.callbackUrl };
    let invoice;
    try {
      // The order's id twice: as the name of this call, so that it can be tried again, and as the name of the invoice.
      invoice = await client.createInvoice(terms, order.id);
    } catch (problem) {
      if (!(problem instanceof ApiError) || problem.retryable || !HOPELESS.has(problem.status)) throw problem;
      // An earlier call may have made it with other terms, such as another address for webhooks.
      [invoice] = await client.invoices({ external_id: order.id });
      if (!isInvoiceOf(order.amount, invoice)) {
        this.orders.refuse(order.id, problem.message);
        console.log(`order ${order.id}: no invoice: ${problem.message}`);
        return;
      }
    }
    if (!isInvoiceOf(order.amount, invoice)) throw new NoAnswer(`order ${order.id}: the invoice has other terms`);
    this.orders.invoiceMade(order.id, invoice);
  }

  // Notes an order, then makes its invoice. If that fails now, the loop of the feed does it later.
  async order(id, item) {
    this.orders.placeOrder(id, item, PRICES.get(item));
    try {
      await this.makeInvoice(this.hasty, id);
    } catch (problem) {
      if (!(problem instanceof CallFailed)) throw problem;
      console.log(`order ${id}: its invoice has to wait: ${problem.message}`);
    }
  }

  // Works off a webhook. Throws `BadWebhook` for a forged one and other errors for one that cannot be read.
  hear(headers, body) {
    const { webhookSecret, bothSignatures } = this.settings;
    const content = verifyWebhook(webhookSecret, headers, body, { alsoXthon: bothSignatures });
    // The shipped formats call the kind `event` or `type`.
    this.sayAll(this.orders.hear(eventOf(headers["webhook-id"], content.event ?? content.type, content)));
  }

  // Reads the feed from the place where it was left to its end.
  async catchUp() {
    for (let more = true; more; ) {
      const page = await this.patient.events(this.orders.cursor());
      const events = page.data.map((event) => eventOf(event.id, event.type, event));
      this.sayAll(this.orders.turnPage(events, page.next_cursor));
      more = page.has_more;
    }
  }

  // At start and every so often: reads the feed, and makes the invoices that are missing.
  async follow() {
    for (;;) {
      const pauses = [await this.attempt(() => this.catchUp()), await this.attempt(() => this.makeMissingInvoices())];
      await sleep(Math.max(...pauses, this.settings.feedEveryMs));
    }
  }

  // Those that could not be made when they were ordered.
  async makeMissingInvoices() {
    for (const order of this.orders.withoutInvoice(TRIED_AGAIN_MAX)) await this.makeInvoice(this.patient, order.id);
  }

  // Does some work; a failure is told and costs nothing but time. Returns how long to wait at least.
  async attempt(work) {
    try {
      await work();
      return 0;
    } catch (problem) {
      // Nothing was marked as done, so the next round meets it again.
      console.error(problem instanceof CallFailed ? problem.message : problem);
      return problem.retryAfterMs ?? 0;
    }
  }

  sayAll(lines) {
    for (const line of lines) console.log(line);
  }
}

// An event of the feed or a webhook; throws when it is not what was promised.
function eventOf(id, kind, { data } = {}) {
  const isObject = typeof data === "object" && data !== null;
  if (typeof id !== "string" || typeof kind !== "string" || !isObject) throw new Error(`event ${id} cannot be read`);
  return { id, kind, data };
}

// The body of a request, or undefined when it is too long.
async function bodyOf(request, most) {
  const chunks = [];
  let length = 0;
  // The connection has to stay for the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += chunk.length;
    if (length > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answer(response, status, text = "", headers = {}) {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", ...headers }).end(text);
}

// HTTP, for the customers and for webhooks.
async function serve(shop, request, response) {
  const path = request.url.split("?")[0];
  if (request.method === "POST" && path === WEBHOOK_PATH) return webhook(shop, request, response);
  if (request.method === "POST" && path === "/orders") return newOrder(shop, request, response);
  if (request.method === "GET" && path === "/") return answer(response, 200, shopPage(PRICES, ASSET), HEADERS);
  const [, id, json] = /^\/orders\/([0-9a-f]{32})(\.json)?$/.exec(request.method === "GET" ? path : "") ?? [];
  const order = id && shop.orders.order(id);
  if (!order) return answer(response, 404, "there is nothing here\n");
  if (!json) return answer(response, 200, await orderPage(order), HEADERS);
  const headers = { "Content-Type": "application/json", "Cache-Control": "no-store" };
  return answer(response, 200, JSON.stringify(asJson(order)), headers);
}

// 2xx means that it is on the disk. Everything else is sent again later, and the feed has it anyway.
async function webhook(shop, request, response) {
  const body = await bodyOf(request, WEBHOOK_BYTES_MAX);
  if (body === undefined) return answer(response, 413, "", { Connection: "close" });
  try {
    shop.hear(request.headers, body);
  } catch (problem) {
    if (!(problem instanceof BadWebhook)) throw problem;
    console.log(`refused a webhook: ${problem.message}`);
    return answer(response, 401);
  }
  return answer(response, 204);
}

// Makes an order and shows its page.
async function newOrder(shop, request, response) {
  const body = await bodyOf(request, FORM_BYTES_MAX);
  if (body === undefined) return answer(response, 413, "", { Connection: "close" });
  const form = new URLSearchParams(body.toString("utf8"));
  const [id, item] = [form.get("order") ?? "", form.get("item") ?? ""];
  if (!/^[0-9a-f]{32}$/.test(id) || !PRICES.has(item)) return answer(response, 400, "what is it that you want?\n");
  await shop.order(id, item);
  return answer(response, 303, "", { Location: `/orders/${id}` });
}

function asJson({ id, item, amount, refused, invoice, paid }) {
  const shown = ["invoice_id", "status", "chain", "asset", "deposit_address", "amount_missing", "expires_at"];
  const short = invoice && Object.fromEntries(shown.map((name) => [name, invoice[name]]));
  return { order_id: id, item, amount, refused: Boolean(refused), invoice: short ?? null, paid: paid ?? null };
}

// Serves until it is told to stop. Being killed at any moment does no harm.
function main() {
  let settings;
  try {
    settings = settingsOf(process.env);
  } catch (problem) {
    console.error(`shop: ${problem.message}; README.md lists the variables`);
    process.exitCode = 2;
    return;
  }
  mkdirSync(settings.data, { recursive: true });
  let shop;
  const server = createServer((request, response) => {
    serve(shop, request, response).catch((problem) => {
      console.error(problem);
      if (!response.headersSent) answer(response, 500);
    });
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  // The orders are read when the port is ours, so that a second shop on the same port never touches them.
  server.listen(settings.port, settings.host, () => {
    const ownUrl = `http://${settings.host}:${server.address().port}`;
    shop = new Shop(settings, new Orders(settings.data), ownUrl);
    console.log(`shop at ${ownUrl}`);
    shop.follow();
  });
  process.on("SIGTERM", () => process.exit(0));
}

main();
