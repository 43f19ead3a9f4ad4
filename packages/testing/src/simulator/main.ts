#!/usr/bin/env node
/** `npm run simulate -- --seed N [--nodes N] [--ticks N] [--until-failure]`: runs simulated clusters. */
import { parseArgs } from "node:util";
import { runCommand, usage } from "./command.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    nodes: { type: "string" },
    ticks: { type: "string" },
    think: { type: "string" },
    keep: { type: "string" },
    "until-failure": { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

// Nodes make errors all the time, to cancel what they wait for. Their stacks would cost more than all the rest.
if (!values.verbose) Error.stackTraceLimit = 0;

const write = (line: string) => process.stdout.write(`${line}\n`);
if (values.help) {
  write(usage);
} else {
  process.exitCode = await runCommand(values, write);
}
