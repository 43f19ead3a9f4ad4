/** `npm run bench -- [cluster|raft] [flags]`; without a name it measures the whole cluster. */
import { runClusterBench } from "./cluster/cluster-bench.ts";
import { runRaftBench } from "./raft/raft-bench.ts";
import { reportRestart } from "./raft/restart.ts";

const benchmarks: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  cluster: runClusterBench,
  raft: runRaftBench,
  /** A part of `raft` that needs a process of its own. */
  "raft-restart": reportRestart,
};

const [first = "cluster", ...rest] = process.argv.slice(2);
const args = first.startsWith("-") ? [first, ...rest] : rest;
const run = benchmarks[first.startsWith("-") ? "cluster" : first];
if (run === undefined) {
  process.stderr.write(`bench: unknown benchmark '${first}': use cluster or raft\n`);
  process.exitCode = 64;
} else {
  await run(args);
}
