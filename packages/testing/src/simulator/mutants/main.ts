#!/usr/bin/env node
/** Plants each mutant in a copy of the built packages and looks for a seed that catches it. */
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Mutant, mutants } from "./mutants.ts";
import { plantMutant } from "./plant-mutant.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    seeds: { type: "string", default: "1..500" },
  },
});

const root = fileURLToPath(new URL("../../../../..", import.meta.url));
const outputBytesMax = 16 * 1024 * 1024;

function run(entry: string): Promise<string> {
  const args = [entry, "--seeds", values.seeds, "--until-failure", "--no-shrink", "--quiet"];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
      // A process that dies of a mutant has caught it too.
      resolve(stdout.includes("FAIL") || error === null ? stdout : `seed ? FAIL ${stderr.slice(0, 500)}`);
    });
  });
}

/** True when a seed failed. */
async function hunt(mutant: Mutant): Promise<boolean> {
  const directory = join(root, "node_modules", ".cache", "blixard", "mutants", mutant.name);
  const started = process.hrtime.bigint();
  const output = await run(await plantMutant(mutant, { root, directory }));
  await rm(directory, { recursive: true, force: true });
  const seconds = Number((process.hrtime.bigint() - started) / 100_000_000n) / 10;
  const seed = /^seed (\S+) FAIL/m.exec(output)?.[1];
  const property = /violated: (.*)/.exec(output)?.[1] ?? output.slice(0, 200);
  const verdict = seed === undefined ? "MISSED" : `caught by seed ${seed}: ${property}`;
  process.stdout.write(`${mutant.name.padEnd(22)} ${verdict} (${seconds} s)\n`);
  return seed !== undefined;
}

let missed = 0;
for (const mutant of mutants) {
  if (values.only !== undefined && values.only !== mutant.name) continue;
  if (!(await hunt(mutant))) missed++;
}
process.exitCode = missed === 0 ? 0 : 1;
