#!/usr/bin/env node
/** `npm run simulate -- --seed N [--nodes N] [--ticks N] [--until-failure]`: runs simulated clusters. */
import { type ProgramTarget, runProgram } from "./command-line.ts";
import { huntMutants } from "./mutants/hunt-mutants.ts";
import { simulate } from "./simulation.ts";

const target: ProgramTarget = {
  command: "npm run simulate --",
  simulate,
  hunt: ({ seeds = "1..500", only }, write) => huntMutants({ seeds, only }, write),
};
process.exitCode = await runProgram(target, process.argv.slice(2));
