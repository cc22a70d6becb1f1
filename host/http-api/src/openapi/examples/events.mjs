// Prints what has happened since the last time; run it every few seconds, or after an outage.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { call } from "./xthonpay.mjs";

const PLACE = "cursor.txt"; // In a shop: a row, written in the transaction that handles the events.

let more = true;
while (more) {
  const query = { limit: 100 };
  if (existsSync(PLACE)) query.cursor = readFileSync(PLACE, "utf8");
  const page = await call("GET", "/api/v1/events", undefined, query);
  for (const event of page.data) console.log(event.id, event.type);
  writeFileSync(PLACE, page.next_cursor);
  more = page.has_more;
}
