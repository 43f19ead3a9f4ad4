/**
 * `npm run bench -- raft`: what consensus and storage cost, each against a bar. Rates are medians of alternating
 * rounds and are compared within one run, because absolute numbers say little on a shared machine.
 */
import { parseArgs } from "node:util";
import { type BenchRow, tableOfRows } from "../bench-row.ts";
import { measureCommitRate } from "./commit-rate.ts";
import { measureCoreRate } from "./core-rate.ts";
import { measureIdleMemory } from "./idle-memory.ts";
import { measureRestart } from "./restart.ts";
import { measureSnapshotStall } from "./snapshot-stall.ts";

type Measurement = (rounds: number) => Promise<readonly BenchRow[]>;

const measurements: Readonly<Record<string, Measurement>> = {
  core: async (rounds) => [1, 64].map((batch) => measureCoreRate(batch, rounds)),
  level: async (rounds) => {
    const rows: BenchRow[] = [];
    for (const voters of [1, 3]) {
      for (const batch of [1, 64, 1024]) rows.push(await measureCommitRate(voters, batch, rounds));
    }
    return rows;
  },
  snapshot: async (rounds) => [await measureSnapshotStall(rounds)],
  restart: async (rounds) => [await measureRestart("compacted", rounds), await measureRestart("retained", rounds)],
  memory: async () => [await measureIdleMemory(1, "iroh"), await measureIdleMemory(3, "iroh")],
};

export async function runRaftBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: Object.keys(measurements).join(",") },
      rounds: { type: "string", default: "5" },
      json: { type: "boolean", default: false },
    },
  });
  const rows: BenchRow[] = [];
  for (const name of values.only.split(",")) {
    const measure = measurements[name];
    if (measure === undefined) throw new Error(`unknown part '${name}': use ${Object.keys(measurements).join(", ")}`);
    process.stderr.write(`bench: ${name}\n`);
    rows.push(...(await measure(Number(values.rounds))));
  }
  process.stdout.write(values.json ? `${JSON.stringify({ rows })}\n` : tableOfRows(rows));
}
