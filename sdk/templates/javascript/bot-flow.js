// A conversation: a button that counts how often it was pressed.
// What each function is asked and may answer stands in wit/bot-flow.wit.

import config from "xthonpay:host/config@0.1.0";
import log from "xthonpay:host/log@0.1.0";

export const plugin = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", notes: "A conversation.", attrs: [] };
  },

  // Tells every problem of the settings at once. With any the plugin does not load, so that the hooks need not look again.
  checkConfig() {
    const problems = [];
    if (greeting().trim() === "") {
      problems.push({ key: "greeting", message: "is empty: the bot has to say something", attrs: [] });
    }
    // What is thrown is the `err` of a function's result, and what is returned its `ok`.
    if (problems.length > 0) throw problems;
  },
};

export const botFlow = {
  // A variant is its case and what the case holds. `memory` is all that is left of the calls before.
  handle(_call, update, memory) {
    const { tag, val } = update.what;
    const pressed = readCount(memory);
    if (tag === "start" || (tag === "command" && val.name === "start")) {
      return [{ tag: "say", val: withButton(`${greeting()} ${told(pressed)}`) }];
    }
    if (tag === "press") {
      const now = pressed + 1;
      log.write("info", `pressed ${now} times`, []);
      return [
        { tag: "edit", val: { messageId: val.messageId, reply: withButton(told(now)), attrs: [] } },
        { tag: "remember", val: Uint8Array.from(String(now), (digit) => digit.charCodeAt(0)) },
      ];
    }
    if (tag === "text" || tag === "command") {
      return [{ tag: "say", val: { text: "Send /start to begin.", buttons: [], qr: null, attrs: [] } }];
    }
    // Outcomes, notices, timers and what later versions add.
    return [];
  },
};

function greeting() {
  return config.get("greeting") ?? "";
}

function told(pressed) {
  return `The button was pressed ${pressed} times.`;
}

function withButton(text) {
  const button = { label: "Press", data: "press", url: null, attrs: [] };
  return { text, buttons: [[button]], qr: null, attrs: [] };
}

// Another version of the plugin may have remembered something else: what is no number counts as none.
function readCount(memory) {
  const text = memory === null ? "" : String.fromCharCode(...memory);
  return /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
}
