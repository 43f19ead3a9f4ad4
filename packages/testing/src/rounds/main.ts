#!/usr/bin/env node
/** `npm run rounds -- [--rounds N] [--seed N]`: membership changes of real processes, each with the leader killed. */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runRealRounds } from "./real-rounds.ts";

const text = { type: "string" } as const;
const { values } = parseArgs({ options: { rounds: text, seed: text } });
const [rounds, seed] = [Number(values.rounds ?? 10), Number(values.seed ?? 1)];
const write = (line: string) => process.stdout.write(`${line}\n`);

if (!(Number.isSafeInteger(rounds) && rounds >= 1) || !Number.isSafeInteger(seed)) {
  write("Usage: npm run rounds -- [--rounds N] [--seed N]   (default 10 rounds, seed 1)");
  process.exitCode = 64;
} else {
  const binary = fileURLToPath(new URL("../../../../apps/node/dist/bundle/main.js", import.meta.url));
  const result = await runRealRounds({ binary, rounds, seed, onProgress: write });
  for (const problem of result.problems) write(`  wrong: ${problem}`);
  write(
    `${result.rounds} rounds, ${result.done} changes done, ${result.operations} calls, ${result.problems.length} wrong`,
  );
  process.exitCode = result.problems.length === 0 ? 0 : 1;
}
