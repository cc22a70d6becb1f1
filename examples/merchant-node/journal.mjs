// A file of facts, one JSON text a line, each on the disk before `append` returns.
//
// A line is there or it is not: when the file is opened, a last one that is not whole is dropped, since a crash cut it
// off before `append` returned. `rewrite` puts a shorter file with the same meaning in its place, by renaming, so that
// there is always a whole one.

import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync } from "node:fs";
import { readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

const LINE_FEED = 0x0a;

export class Journal {
  #path;
  #file;

  // Opens the file, or makes it. One process at a time.
  constructor(path) {
    this.#path = path;
  }

  // The facts in their order. To be called once, before the first `append`.
  read() {
    const isNew = !existsSync(this.#path);
    this.#file = openSync(this.#path, "a+", 0o600);
    if (isNew) syncFolder(this.#path);
    const bytes = readFileSync(this.#path);
    const facts = [];
    let end = 0;
    while (end < bytes.length) {
      const next = bytes.indexOf(LINE_FEED, end) + 1;
      try {
        if (next === 0) throw new Error("a line without an end");
        facts.push(JSON.parse(bytes.toString("utf8", end, next)));
      } catch (problem) {
        // Anywhere else than at the end it is damage, and not for us to mend.
        if (next !== 0 && next < bytes.length) throw problem;
        ftruncateSync(this.#file, end);
        fsyncSync(this.#file);
        break;
      }
      end = next;
    }
    return facts;
  }

  // Adds a fact. When the disk refuses, nobody knows how much of the line is there, so the process ends; opening the
  // file again finds out.
  append(fact) {
    try {
      writeAll(this.#file, `${JSON.stringify(fact)}\n`);
      fsyncSync(this.#file);
    } catch (problem) {
      console.error(`${this.#path}: ${problem.message}`);
      process.exit(1);
    }
  }

  // Replaces everything by these facts.
  rewrite(facts) {
    const next = `${this.#path}.next`;
    const file = openSync(next, "w", 0o600);
    for (const fact of facts) writeAll(file, `${JSON.stringify(fact)}\n`);
    fsyncSync(file);
    closeSync(file);
    renameSync(next, this.#path);
    syncFolder(this.#path);
    closeSync(this.#file);
    this.#file = openSync(this.#path, "a", 0o600);
  }
}

function writeAll(file, text) {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(file, bytes));
}

// A new name is on the disk when its folder is.
function syncFolder(path) {
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
}
