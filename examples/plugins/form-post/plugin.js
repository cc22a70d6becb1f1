// Example format: webhooks as the fields of a form, `application/x-www-form-urlencoded`, for shop systems that read no JSON.
// Nested data becomes names with brackets, which PHP, Rails and many others turn back into nested values by themselves.

import config from "xthonpay:host/config@0.1.0";

// The event's own fields. A field of the data that has one of these names moves into `data[...]`, so that neither hides the other:
// readers differ in whether the first or the last of two fields counts.
const OWN_FIELDS = ["id", "event", "created", "sequence"];

const PREFIX = /^[A-Za-z0-9_]{0,16}$/;

export const plugin = {
  describe() {
    return { name: "form-post", version: "0.1.0", notes: "Webhooks as the fields of a form.", attrs: [] };
  },

  checkConfig() {
    const prefix = readPrefix();
    if (!PREFIX.test(prefix)) {
      const message = `\`${prefix}\` does not fit: use up to 16 letters, digits and \`_\``;
      // What is thrown is the `err` of the function's result.
      throw [{ key: "prefix", message, attrs: [] }];
    }
  },
};

export const webhookFormat = {
  render(_call, event, _target) {
    const prefix = readPrefix();
    const fields = [
      ["id", event.id],
      ["event", event.kind],
      ["created", new Date(event.created).toISOString()],
      ["sequence", event.sequence],
    ];
    for (const [key, value] of Object.entries(readData(event))) {
      flatten(OWN_FIELDS.includes(key) ? `data[${key}]` : key, value, fields);
    }
    const body = fields.map(([name, value]) => `${encode(prefix + name)}=${encode(String(value))}`).join("&");
    return {
      contentType: "application/x-www-form-urlencoded",
      headers: [],
      // All of it is ASCII by now, so that a character is a byte.
      body: Uint8Array.from(body, (character) => character.charCodeAt(0)),
      attrs: [],
    };
  },
};

function readPrefix() {
  return config.get("prefix") ?? "";
}

function readData(event) {
  let data = null;
  try {
    data = JSON.parse(event.dataJson);
  } catch {
    // Told below, like any other text that is no object.
  }
  if (data === null || typeof data !== "object" || Array.isArray(data)) {
    const message = "the event's data is not a JSON object";
    throw { tag: "bad-input", val: { code: "data_not_an_object", message, attrs: [] } };
  }
  return data;
}

// Adds `name` and what is below it: `payment[amount]`, `payments[0][amount]`. `null` is an empty text; an empty list or object
// has no field at all, for there is no way to write one.
function flatten(name, value, fields) {
  if (value === null) {
    fields.push([name, ""]);
  } else if (typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) {
      flatten(`${name}[${key}]`, inner, fields);
    }
  } else {
    fields.push([name, value]);
  }
}

// As forms are encoded: a space is `+`, and only letters, digits and `*-._` stay as they are. `toWellFormed` because JSON can
// write half of a surrogate pair, which no encoding has bytes for.
function encode(text) {
  return encodeURIComponent(text.toWellFormed())
    .replace(/%20/g, "+")
    .replace(/[!'()~]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}
