#!/usr/bin/env node
/** `npm run simulate -- --seed N [--nodes N] [--ticks N] [--until-failure]`: runs simulated clusters and Raft groups. */
import { type ProgramTarget, runProgram } from "./command-line.ts";
import { huntMutants } from "./mutants/hunt-mutants.ts";
import { simulateRegisters } from "./register-scenario.ts";
import { simulate } from "./simulation.ts";
import type { SimulationOptions } from "./storm-run.ts";

/** Each third seed is a bare Raft group: it is faster, and sees what a cluster makes no use of. Nobody is taken over there. */
const simulateEither = (options: SimulationOptions) =>
  options.seed % 3 === 0 && options.byzantine !== true && options.rounds !== true
    ? simulateRegisters(options)
    : simulate(options);

const target: ProgramTarget = {
  command: "npm run simulate --",
  simulate: simulateEither,
  subjects: { cluster: simulate, registers: simulateRegisters },
  hunt: ({ seeds = "1..500", only }, write) => huntMutants({ seeds, only }, write),
};
process.exitCode = await runProgram(target, process.argv.slice(2));
