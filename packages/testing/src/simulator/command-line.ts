/** Arguments, output and exit code of the simulator as a program. */
import { parseArgs } from "node:util";
import { type CommandTarget, runCommand, usageOf } from "./command.ts";
import { type GroupScenario, simulateGroup } from "./group-simulation.ts";

export interface HuntArguments {
  readonly seeds?: string | undefined;
  readonly only?: string | undefined;
}

export interface ProgramTarget extends CommandTarget {
  /** For `--mutants`: resolves with the number of those that no seed caught. */
  readonly hunt?: (options: HuntArguments, write: (line: string) => void) => Promise<number>;
}

const text = { type: "string" } as const;
const flag = { type: "boolean", default: false } as const;
const huntUsage = "  --mutants         plants known bugs and looks for a seed that catches each; --only NAME for one";

/** Runs the simulator with the arguments of a program. Resolves with the exit code. */
export async function runProgram(target: ProgramTarget, args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ seed: text, seeds: text, nodes: text, ticks: text, rest: text, think: text, keep: text },
      ...{ only: text, subject: text, byzantine: flag, rounds: flag },
      ...{ "until-failure": flag, "no-shrink": flag, verbose: flag, quiet: flag, mutants: flag, help: flag },
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
    write(usageOf(target) + (target.hunt === undefined ? "" : `\n${huntUsage}`));
    return 0;
  }
  if (values.mutants && target.hunt !== undefined) return (await target.hunt(values, write)) === 0 ? 0 : 1;
  return runCommand(target, values, write, readerGone.signal);
}

/**
 * The same command line for a scenario of one's own: `--seed`, `--seeds`, `--until-failure`, and the rest. A failing seed
 * is shrunk, and printed with `command`, which replays it. Resolves with the exit code.
 */
export function runScenario<State, Result>(
  command: string,
  scenario: GroupScenario<State, Result>,
  args: readonly string[],
): Promise<number> {
  return runProgram({ command, simulate: (options) => simulateGroup(scenario, options) }, args);
}
