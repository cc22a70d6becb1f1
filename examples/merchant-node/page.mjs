// What customers see. Text from elsewhere is escaped; the QR code is drawn here, so that no address leaves the shop.

import { randomBytes } from "node:crypto";
import QRCode from "qrcode";

// How often the page of an open order asks for news.
const REFRESH_S = 5;

// Nothing from elsewhere, no scripts, and no frames: a page that shows where money goes is not to be drawn over.
export const HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
};

function whole(title, content, changes) {
  const refresh = changes ? `<meta http-equiv="refresh" content="${REFRESH_S}">\n` : "";
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
${refresh}<title>${title}</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem }
  code { overflow-wrap: anywhere; font-size: 1.05rem }
  svg { width: 14rem }
</style>
<h1>${title}</h1>
${content}
</html>
`;
}

function escape(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return String(text).replace(/[&<>"']/g, (letter) => entities[letter]);
}

// The front page. Its form names the order, so that sending it twice makes one. Nobody can guess the name: whoever
// knows the address of an order's page may see it.
export function shopPage(prices, asset) {
  const buttons = [...prices].map(
    ([item, price]) => `<p><button name="item" value="${escape(item)}">${escape(item)}, ${price} ${asset}</button></p>`,
  );
  const name = `<input type="hidden" name="order" value="${randomBytes(16).toString("hex")}">`;
  return whole("A small shop", `<form method="post" action="/orders">${name}${buttons.join("")}</form>`, false);
}

// The page of an order, which looks again by itself while something may change.
export async function orderPage(order) {
  const [title, content, changes] = await story(order);
  return whole(title, `<p>${escape(order.item)}, ${escape(order.amount)}</p>${content}`, changes);
}

async function story({ invoice, paid, refused }) {
  if (paid) return ["Paid", "<p>Thank you. It is on its way.</p>", false];
  if (refused) return ["Not possible", "<p>This order cannot be paid. Please write to us.</p>", false];
  if (!invoice) return ["One moment", "<p>The address to pay to is being made.</p>", true];
  if (["expired", "cancelled"].includes(invoice.status)) {
    // Late money can still be accepted.
    const closed = "<p>Please do not pay any more. If you have paid already, write to us: nothing is lost.</p>";
    return ["The time is over", closed, true];
  }
  if (["confirming", "paid"].includes(invoice.status)) {
    return ["We see your payment", "<p>It is being confirmed.</p>", true];
  }
  return ["Please pay", await howToPay(invoice), true];
}

async function howToPay(invoice) {
  // The plain address: every wallet reads it. The amount is typed in from the page.
  const code = await QRCode.toString(invoice.deposit_address, { type: "svg", errorCorrectionLevel: "M" });
  const [asset, chain] = [escape(invoice.asset), escape(invoice.chain)];
  const part =
    invoice.status === "partially_paid"
      ? `<p>We have received ${escape(invoice.amount_received)} ${asset}. The rest is missing.</p>`
      : "";
  return (
    `${part}<p>Send exactly <strong>${escape(invoice.amount_missing)} ${asset}</strong> on the network ` +
    `<strong>${chain}</strong> to</p><p><code>${escape(invoice.deposit_address)}</code></p><p>${code}</p>` +
    `<p>until ${escape(invoice.expires_at)}. Another asset or another network would be lost time for both of us.</p>`
  );
}
