// The form of webhooks: JSON, without the kinds of events that the operator leaves out.
// What each function is asked and may answer stands in wit/webhook-format.wit.

import config from "xthonpay:host/config@0.1.0";
import log from "xthonpay:host/log@0.1.0";

export const plugin = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", notes: "The form of webhooks.", attrs: [] };
  },

  // Tells every problem of the settings at once. With any the plugin does not load, so that the hooks need not look again.
  checkConfig() {
    const problems = skippedKinds()
      .filter((kind) => !/^[a-z_.]+$/.test(kind))
      .map((kind) => ({ key: "skip", message: `\`${kind}\` is no kind of event such as \`invoice.paid\``, attrs: [] }));
    // What is thrown is the `err` of a function's result, and what is returned its `ok`.
    if (problems.length > 0) throw problems;
  },
};

export const webhookFormat = {
  render(_call, event, _target) {
    if (skippedKinds().includes(event.kind)) {
      log.write("info", `skipped ${event.kind}`, []);
      // An option that is none is null: nothing is sent.
      return null;
    }
    // The data is JSON already. It goes in as it is, so that nothing in it is rounded or put in another order.
    const [id, kind] = [event.id, event.kind].map((text) => JSON.stringify(text));
    const body = `{"id":${id},"event":${kind},"created":${event.created},"data":${event.dataJson}}`;
    return { contentType: "application/json", headers: [], body: utf8(body), attrs: [] };
  },
};

// Lists are joined by commas.
function skippedKinds() {
  const words = (config.get("skip") ?? "").split(",").map((word) => word.trim());
  return words.filter((word) => word !== "");
}

// The engine has no TextEncoder. `unescape` makes a character of each byte that `encodeURIComponent` wrote.
function utf8(text) {
  const bytes = unescape(encodeURIComponent(text));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
