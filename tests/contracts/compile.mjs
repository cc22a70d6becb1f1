// Compiles the Solidity files beside this script to <Name>.json. The same compiler gives the same bytes.
//
//   node tests/contracts/compile.mjs <folder with node_modules>   (or XTHONPAY_NODE_MODULES=<node_modules>)
//   add --check to compare with the files on disk instead of writing them
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes("--check");
const given = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
const modules = given ? join(given, "node_modules") : process.env.XTHONPAY_NODE_MODULES;
if (!modules) {
  console.error("name the folder that holds node_modules, or set XTHONPAY_NODE_MODULES");
  process.exit(2);
}
const solc = createRequire(join(resolve(modules), "resolve.js"))("solc");

const settings = {
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 200 },
  // Without the hash of the metadata the bytes depend on the code alone, not on comments or file names.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};
const names = readdirSync(here).filter((name) => name.endsWith(".sol")).sort();
const sources = Object.fromEntries(names.map((name) => [name, { content: readFileSync(join(here, name), "utf8") }]));
const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const problems = output.errors ?? [];
problems.forEach((problem) => console.error(problem.formattedMessage));
if (problems.length > 0) process.exit(1);

let differing = 0;
for (const file of names) {
  const name = file.replace(/\.sol$/, "");
  const contract = output.contracts[file][name];
  const artefact = {
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
    compiler: `solc ${solc.version()}`,
    settings,
  };
  const text = `${JSON.stringify(artefact, null, 2)}\n`;
  const path = join(here, `${name}.json`);
  if (!check) {
    writeFileSync(path, text);
    console.log(`wrote ${name}.json`);
  } else if (readFileSync(path, "utf8") !== text) {
    console.error(`${name}.json differs from its source`);
    differing += 1;
  }
}
process.exit(differing > 0 ? 1 : 0);
