// A policy for withdrawals: a most for each, and a one-time code for the first one to an address.
// What each function is asked and may answer stands in wit/withdrawal-policy.wit.

import config from "xthonpay:host/config@0.1.0";
import log from "xthonpay:host/log@0.1.0";

export const plugin = {
  describe() {
    return { name: "{{name}}", version: "0.1.0", notes: "A policy for withdrawals.", attrs: [] };
  },

  // Tells every problem of the settings at once. With any the plugin does not load, so that the hooks need not look again.
  checkConfig() {
    const problems = [];
    if (units(config.get("largest")) === 0n) {
      problems.push({ key: "largest", message: "is 0, so that every withdrawal would be denied", attrs: [] });
    }
    // What is thrown is the `err` of a function's result, and what is returned its `ok`.
    if (problems.length > 0) throw problems;
  },
};

export const withdrawalPolicy = {
  review(_call, request) {
    const verdict = judge(request);
    if (verdict.ruling !== "allow") log.write("info", `${request.id}: ${verdict.code}`, []);
    return verdict;
  },
};

function judge(request) {
  const largest = config.get("largest");
  if (units(request.amount.amount) > units(largest)) {
    const symbol = request.amount.asset.split(":").at(-1);
    return verdictOf("deny", "amount_too_large", `At most ${largest} ${symbol} may be withdrawn at once.`);
  }
  if (request.destinationUses === 0) {
    return verdictOf("require-totp", "new_destination", "Nothing was ever withdrawn to this address.");
  }
  return verdictOf("allow", "", "");
}

function verdictOf(ruling, code, message) {
  return { ruling, code, message, attrs: [] };
}

// An amount as a whole number of its smallest parts: a Number would round it. The contract has at most 36 digits behind the point.
function units(decimal) {
  const [whole, fraction = ""] = decimal.split(".");
  return BigInt(whole + fraction.padEnd(36, "0"));
}
