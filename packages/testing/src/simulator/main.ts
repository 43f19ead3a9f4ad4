#!/usr/bin/env node
/** `npm run simulate -- --seed N [--nodes N] [--ticks N] [--until-failure]`: runs simulated clusters. */
import { parseArgs } from "node:util";
import { runCommand, usage } from "./command.ts";
import { huntMutants } from "./mutants/hunt-mutants.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    nodes: { type: "string" },
    ticks: { type: "string" },
    rest: { type: "string" },
    think: { type: "string" },
    keep: { type: "string" },
    "until-failure": { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    only: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

// Nodes make errors all the time, to cancel what they wait for. Their stacks would cost more than all the rest.
if (!values.verbose) Error.stackTraceLimit = 0;

// `| head` closes the pipe when it has seen enough: that is no failure, and there is nobody to run more seeds for.
const readerGone = new AbortController();
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  readerGone.abort();
});

const write = (line: string) => process.stdout.write(`${line}\n`);
if (values.help) {
  write(usage);
} else if (values.mutants) {
  const missed = await huntMutants({ seeds: values.seeds ?? "1..500", only: values.only }, write);
  process.exitCode = missed === 0 ? 0 : 1;
} else {
  process.exitCode = await runCommand(values, write, readerGone.signal);
}
