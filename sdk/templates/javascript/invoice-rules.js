// Rules for invoices: how long they wait, which are refused, and what becomes of late money.
// What each function is asked and may answer stands in wit/invoice-rules.wit.

import config from "xthonpay:host/config@0.1.0";
import log from "xthonpay:host/log@0.1.0";

export const plugin = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", notes: "Rules for invoices.", attrs: [] };
  },

  // Tells every problem of the settings at once. With any the plugin does not load, so that the hooks need not look again.
  checkConfig() {
    const problems = [];
    const seconds = Number(config.get("expires_in_s"));
    if (seconds < 60 || seconds > 2_592_000) {
      problems.push({ key: "expires_in_s", message: `${seconds} is not between 60 and 2592000`, attrs: [] });
    }
    // What is thrown is the `err` of a function's result, and what is returned its `ok`.
    if (problems.length > 0) throw problems;
  },
};

export const invoiceRules = {
  onDraft(_call, draft) {
    // An option that is none is null.
    if (draft.externalId === null) {
      log.write("info", "refused an invoice without an order", []);
      const message = "Name the order in external_id.";
      return { tag: "refuse", val: { code: "order_missing", message, attrs: [] } };
    }
    const expiresInS = draft.requestedExpiryS ?? Number(config.get("expires_in_s"));
    return { tag: "accept", val: { ...draft.proposed, expiresInS } };
  },

  onPayment(_call, invoice, _transfers) {
    if (!invoice.late) return "settle";
    log.write("info", `${invoice.id} was paid late: a person decides`, []);
    return "review";
  },
};
