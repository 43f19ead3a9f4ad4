/** Plants each mutant in a copy of the built packages and looks for a seed that catches it. */
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { messageOf } from "@blixard/common";
import type { Mutant } from "./mutant.ts";
import { mutants } from "./mutants.ts";
import { plantMutant } from "./plant-mutant.ts";

export interface HuntOptions {
  /** `A..B`: the seeds that are tried, in order, for each mutant. */
  readonly seeds: string;
  /** One mutant by its name; default: all. */
  readonly only?: string | undefined;
}

const root = fileURLToPath(new URL("../../../../..", import.meta.url));
/** In each of these runs the liars have the calm time after the storm as well. */
const byzantineTicks = "400";
const outputBytesMax = 16 * 1024 * 1024;

/** Resolves with the number of mutants that no seed caught. */
export async function huntMutants(options: HuntOptions, write: (line: string) => void): Promise<number> {
  const wanted = mutants.filter(({ name }) => options.only === undefined || options.only === name);
  let missed = 0;
  for (const mutant of wanted) {
    const caught = await hunt(mutant, options.seeds, write);
    if (!caught) missed++;
  }
  write(`${wanted.length - missed} of ${wanted.length} mutants caught`);
  return missed;
}

async function hunt(mutant: Mutant, seeds: string, write: (line: string) => void): Promise<boolean> {
  const directory = join(root, "node_modules", ".cache", "blixard", "mutants", mutant.name);
  const startedMs = performance.now();
  let entry: string;
  try {
    entry = await plantMutant(mutant, { root, directory });
  } catch (error) {
    write(`${mutant.name.padEnd(22)} CANNOT BE PLANTED: ${messageOf(error)}`);
    return false;
  }
  const output = await run(entry, seeds, mutant);
  await rm(directory, { recursive: true, force: true });
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
  const seed = /^seed (\S+) FAIL/m.exec(output)?.[1];
  const property = /violated: (.*)/.exec(output)?.[1] ?? output.slice(0, 200);
  const verdict = seed === undefined ? "MISSED" : `caught by seed ${seed}: ${property}`;
  write(`${mutant.name.padEnd(22)} ${verdict} (${seconds} s)`);
  return seed !== undefined;
}

function run(entry: string, seeds: string, { subject = "cluster", byzantine }: Mutant): Promise<string> {
  const args = [entry, "--subject", subject, "--seeds", seeds, "--until-failure", "--no-shrink", "--quiet"];
  if (byzantine) args.push("--byzantine", "--ticks", byzantineTicks);
  return new Promise((resolve) => {
    execFile(process.execPath, args, { maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
      // A process that dies of a mutant has caught it too.
      resolve(stdout.includes("FAIL") || error === null ? stdout : `seed ? FAIL ${stderr.slice(0, 500)}`);
    });
  });
}
