// What the shop knows: its orders, the events that it has heard of, and its place in the feed.
//
// It lies in memory and in a journal. Each fact is one line of the journal, on the disk before anything is answered:
// what an event does, that it was seen, and the place in the feed behind it are in one line. Whenever the shop is
// killed, nothing is lost and nothing is done twice.
//
// Nothing here talks to anybody, and nothing waits: no two facts mix.

import { join } from "node:path";
import { Journal } from "./journal.mjs";

// What every price of the shop is in.
export const ASSET = "USDT";

// How long ids of events are kept. A delivery is repeated for days, and by hand whenever somebody wants; an order that
// is paid is never paid again, however old the event is.
const SEEN_FOR_MS = 30 * 24 * 3_600 * 1_000;

// After so many facts the journal is written anew, with what still counts.
const FACTS_MAX = 10_000;

export class Orders {
  #journal;
  #facts = 0;
  #orders = new Map();
  #seen = new Map();
  #cursor;

  // The orders of a folder.
  constructor(folder) {
    this.#journal = new Journal(join(folder, "shop.jsonl"));
    for (const fact of this.#journal.read()) this.#apply(fact);
    this.#shorten();
  }

  // Notes an order. One that is there stays as it is: a browser may send its form twice.
  placeOrder(id, item, amount) {
    if (!this.#orders.has(id)) this.#commit({ orders: [{ id, item, amount, placed_at: Date.now() }] });
  }

  // An order, if there is one.
  order(id) {
    return this.#orders.get(id);
  }

  // The newest orders that wait for an invoice: their customers are the likeliest to be there still.
  withoutInvoice(limit) {
    const waiting = [...this.#orders.values()].filter((order) => !order.invoice && !order.refused);
    return waiting.sort((one, other) => other.placed_at - one.placed_at).slice(0, limit);
  }

  // Notes the invoice of an order. What events have told of it already is newer and stays.
  invoiceMade(id, invoice) {
    const order = this.#orders.get(id);
    if (!order.invoice) this.#commit({ orders: [{ ...order, invoice }] });
  }

  // Notes that an order gets no invoice.
  refuse(id, why) {
    const order = this.#orders.get(id);
    if (!order.invoice) this.#commit({ orders: [{ ...order, refused: why }] });
  }

  // The place in the feed up to which everything is worked off.
  cursor() {
    return this.#cursor;
  }

  // Works off an event that a webhook told: `{id, kind, data}`. Returns what there is to say about it.
  hear(event) {
    // What was heard before is not worked off again; the feed may have told newer things since.
    if (this.#seen.has(event.id)) return [];
    const { changed, said } = this.#workOff([event], "webhook");
    this.#commit({ orders: changed, seen: [[event.id, Date.now()]] });
    return said;
  }

  // Works off a page of the feed and moves the place behind it, in one fact.
  turnPage(events, cursor) {
    if (events.length === 0 && cursor === this.#cursor) return [];
    // The feed has the true order: what it says of an invoice holds, heard before or not.
    const { changed, said } = this.#workOff(events, "feed");
    const unseen = events.filter((event) => !this.#seen.has(event.id));
    this.#commit({ orders: changed, seen: unseen.map((event) => [event.id, Date.now()]), cursor });
    return said;
  }

  // What events do: the orders that they change, as they are then.
  #workOff(events, way) {
    const changed = new Map();
    const said = [];
    for (const { id, kind, data: invoice } of events) {
      const order = changed.get(invoice.external_id) ?? this.#orders.get(invoice.external_id);
      // The key may be used by another program too.
      if (!kind.startsWith("invoice.") || order === undefined) continue;
      // An order whose call got no answer learns here that its invoice exists.
      const known = order.invoice?.invoice_id ?? invoice.invoice_id;
      if (known !== invoice.invoice_id || !isInvoiceOf(order.amount, invoice)) {
        said.push(`order ${order.id}: ${id} is about another invoice or other terms: look at it`);
        continue;
      }
      const next = { ...order, invoice, refused: undefined };
      if (kind === "invoice.needs_review") {
        said.push(`order ${order.id}: somebody should look at ${invoice.invoice_id}`);
      }
      // Here the order is paid: once, whoever tells of it and however often. Whatever has to happen with it, such as a
      // parcel to send, is noted in the same fact and done afterwards from there.
      if (kind === "invoice.paid" && !order.paid) {
        next.paid = { event_id: id, way, at: Date.now() / 1_000 };
        said.push(`order ${order.id}: paid, says the ${way}`);
      }
      changed.set(order.id, next);
    }
    return { changed: [...changed.values()], said };
  }

  #commit(fact) {
    this.#journal.append(fact);
    this.#apply(fact);
    this.#facts += 1;
    if (this.#facts >= FACTS_MAX) this.#shorten();
  }

  // Drops from the journal what is superseded or too old.
  #shorten() {
    for (const [id, at] of this.#seen) if (Date.now() - at > SEEN_FOR_MS) this.#seen.delete(id);
    this.#journal.rewrite([{ orders: [...this.#orders.values()], seen: [...this.#seen], cursor: this.#cursor }]);
    this.#facts = 0;
  }

  #apply({ orders = [], seen = [], cursor }) {
    for (const order of orders) this.#orders.set(order.id, order);
    for (const [id, at] of seen) this.#seen.set(id, at);
    this.#cursor = cursor ?? this.#cursor;
  }
}

// Whether an invoice asks for what an order costs.
export function isInvoiceOf(amount, invoice) {
  const asked = canonical(invoice?.amount);
  return asked !== undefined && asked === canonical(amount) && invoice.asset === ASSET;
}

// One form for each decimal number: amounts are never turned into floats.
function canonical(amount) {
  const [, whole, fraction = ""] = /^([0-9]+)(?:\.([0-9]+))?$/.exec(amount ?? "") ?? [];
  return whole && `${whole.replace(/^0+(?=.)/, "")}.${fraction.replace(/0+$/, "")}`;
}
