/** The command line of the simulator. */
import type { Logger } from "@blixard/common";
import { describeForged, type ForgedCounts, ForgedTally, notShown } from "./byzantine/forged-counts.ts";
import { describeFault } from "./fault-schedule.ts";
import { shrinkFaults } from "./shrink.ts";
import type { SimulationOptions, SimulationResult } from "./storm-run.ts";

/** What a command runs. */
export interface CommandTarget {
  /** How a person starts it, without options: `npm run simulate --`. */
  readonly command: string;
  readonly simulate: Simulate;
  /** What `--subject` may name. Absent: there is one thing to simulate, and no such option. */
  readonly subjects?: Readonly<Record<string, Simulate>>;
}

type Simulate = (options: SimulationOptions) => Promise<SimulationResult>;

export const usageOf = ({ command, subjects }: CommandTarget) => `Usage: ${command} [options]
  --seed N          runs one seed (default 1)
  --seeds A..B      runs seeds A to B
  --until-failure   goes on from --seed with the next seeds until one fails
  --nodes N         voters at the start (default 3; of a group of registers, by the seed)
  --ticks N         ticks of 50 virtual milliseconds (default 1000)
  --rest N          ticks of rest after each 1000 ticks of storm, in longer runs (default 4000, 0 for none)
  --think MS        mean milliseconds between two calls of a client (default by the seed)
  --keep LIST       only these planned faults happen, by number: 0,3,7; or none
  --no-shrink       does not look for a shorter schedule when a seed fails
  --byzantine       clusters in which members without a vote, and a witness, were taken over
  --rounds          the faults are membership changes, in the middle of each of which the leader ends
  --verbose         prints what the nodes log
  --quiet           prints failures and totals only${subjects === undefined ? "" : subjectUsage(subjects)}`;

const subjectUsage = (subjects: Readonly<Record<string, Simulate>>) =>
  `\n  --subject NAME    simulates only one of: ${Object.keys(subjects).join(", ")} (default: which of them, the seed says)`;

export interface CommandOptions {
  readonly seed?: string | undefined;
  readonly seeds?: string | undefined;
  readonly nodes?: string | undefined;
  readonly ticks?: string | undefined;
  readonly rest?: string | undefined;
  readonly think?: string | undefined;
  readonly keep?: string | undefined;
  readonly subject?: string | undefined;
  readonly byzantine: boolean;
  readonly rounds: boolean;
  readonly "until-failure": boolean;
  readonly "no-shrink": boolean;
  readonly verbose: boolean;
  readonly quiet: boolean;
}

/**
 * Runs what was asked for; ends early when `signal` aborts. Resolves with the exit code: 0, 1 when a seed failed, 64 for
 * arguments that mean nothing.
 */
export async function runCommand(
  given: CommandTarget,
  options: CommandOptions,
  write: (line: string) => void,
  signal: AbortSignal,
): Promise<number> {
  const target = targetOf(given, options.subject);
  const range = rangeOf(options);
  const shared = simulationOptionsOf(options, write);
  if (target === undefined || range === undefined || shared === undefined) {
    write(usageOf(given));
    return 64;
  }
  const totals = { seeds: 0, ticks: 0, cpuMs: 0, failed: 0, rounds: 0, done: 0, killed: 0 };
  const forged = new ForgedTally();
  for (let seed = range.from; seed <= range.to && !signal.aborted; seed++) {
    const before = process.cpuUsage();
    const result = await target.simulate({ ...shared, seed });
    const { user, system } = process.cpuUsage(before);
    const cpuMs = (user + system) / 1_000;
    totals.seeds++;
    totals.ticks += result.clusterTicks;
    totals.cpuMs += cpuMs;
    forged.addAll(result.forged);
    for (const name of ["rounds", "done", "killed"] as const) totals[name] += result.rounds[name];
    if (!options.quiet || result.violation !== undefined) write(describeResult(result, cpuMs));
    if (result.violation === undefined) continue;
    totals.failed++;
    await reportFailure(target, result, shared, options, write);
    if (options["until-failure"]) break;
  }
  const rate = Math.round(totals.ticks / (totals.cpuMs / 1_000));
  write(
    `${totals.seeds} seeds, ${totals.failed} failed, ${totals.ticks} cluster-ticks, ${rate} cluster-ticks per CPU second`,
  );
  if (options.rounds) {
    const { rounds, done, killed } = totals;
    write(`${rounds} membership changes, ${done} of them done, ${killed} leaders killed before the answer`);
  }
  const missing = options.byzantine ? reportForged(forged.counts, totals.seeds, write) : 0;
  return totals.failed === 0 && missing === 0 ? 0 : 1;
}

/** What became of all that was made up. Returns how much of it was not shown. */
function reportForged(counts: ForgedCounts, seeds: number, write: (line: string) => void): number {
  for (const line of describeForged(counts)) write(line);
  const missing = notShown(counts, seeds);
  for (const line of missing) write(`  not shown: ${line}`);
  return missing.length;
}

/** Undefined when nothing has that name. */
function targetOf(target: CommandTarget, subject: string | undefined): CommandTarget | undefined {
  const simulate = subject === undefined ? target.simulate : target.subjects?.[subject];
  return simulate === undefined ? undefined : { ...target, simulate };
}

function rangeOf(options: CommandOptions): { readonly from: number; readonly to: number } | undefined {
  const from = Number(options.seed ?? 1);
  if (options.seeds === undefined) {
    if (!Number.isSafeInteger(from)) return undefined;
    return { from, to: options["until-failure"] ? Number.MAX_SAFE_INTEGER : from };
  }
  const match = /^(\d+)\.\.(\d+)$/.exec(options.seeds);
  return match === null ? undefined : { from: Number(match[1]), to: Number(match[2]) };
}

function simulationOptionsOf(
  options: CommandOptions,
  write: (line: string) => void,
): Omit<SimulationOptions, "seed"> | undefined {
  const nodes = options.nodes === undefined ? undefined : Number(options.nodes);
  const ticks = Number(options.ticks ?? 1_000);
  const restTicks = options.rest === undefined ? undefined : Number(options.rest);
  if (restTicks !== undefined && !(Number.isSafeInteger(restTicks) && restTicks >= 0)) return undefined;
  const thinkMs = options.think === undefined ? undefined : Number(options.think);
  if (thinkMs !== undefined && !(thinkMs > 0)) return undefined;
  const keepFaults = options.keep?.split(",").filter((part) => part !== "none");
  if (nodes !== undefined && !(Number.isSafeInteger(nodes) && nodes >= 1)) return undefined;
  if (!(Number.isSafeInteger(ticks) && ticks >= 1)) return undefined;
  if (keepFaults?.some((part) => !/^\d+$/.test(part))) return undefined;
  return {
    ticks,
    ...(nodes === undefined ? {} : { nodes }),
    ...(restTicks === undefined ? {} : { restTicks }),
    ...(thinkMs === undefined ? {} : { thinkMs }),
    ...(keepFaults === undefined ? {} : { keepFaults: keepFaults.map(Number) }),
    byzantine: options.byzantine,
    rounds: options.rounds,
    ...(options.verbose ? { logger: (nodeId: number, nowMs: () => number) => printer(nodeId, nowMs, write) } : {}),
  };
}

function printer(nodeId: number, nowMs: () => number, write: (line: string) => void): Logger {
  const logger: Logger = {
    log: (level, message, fields) => {
      const time = (nowMs() / 1_000).toFixed(4).padStart(10);
      write(`${time} node ${nodeId} ${level} ${message} ${fields === undefined ? "" : JSON.stringify(fields)}`);
    },
    child: () => logger,
  };
  return logger;
}

function describeResult(result: SimulationResult, cpuMs: number): string {
  const { seed, violation, traceHash, clusterTicks, operations, acknowledgedWrites, leaders, appliedEntries } = result;
  const verdict = violation === undefined ? "ok  " : "FAIL";
  const counts = `${clusterTicks} ticks, ${result.faults.length} faults, ${operations} calls, ${acknowledgedWrites} writes`;
  const more = `${appliedEntries} entries, ${leaders} leaders${result.undecided > 0 ? `, ${result.undecided} undecided` : ""}`;
  return `seed ${seed} ${verdict} trace ${traceHash} ${counts}, ${more}, ${Math.round(cpuMs)} ms CPU`;
}

async function reportFailure(
  { command, simulate }: CommandTarget,
  { seed, violation, faults }: SimulationResult,
  shared: Omit<SimulationOptions, "seed">,
  options: CommandOptions,
  write: (line: string) => void,
): Promise<void> {
  if (violation === undefined) return;
  const { property, detail, atMs, step } = violation;
  const given = (["subject", "nodes", "ticks", "rest", "think"] as const).map((name) =>
    options[name] === undefined ? "" : ` --${name} ${options[name]}`,
  );
  const flags = (["byzantine", "rounds"] as const).map((name) => (options[name] ? ` --${name}` : ""));
  const again = `${command} --seed ${seed}${flags.join("")}${given.join("")}`;
  write(`  violated: ${property}: ${detail}`);
  write(`  seen at ${(atMs / 1_000).toFixed(3)} virtual seconds, step ${step}`);
  write(`  replay:   ${again}`);
  if (options["no-shrink"]) return;
  const run = (keepFaults: readonly number[]) => simulate({ ...shared, seed, keepFaults });
  const kept = await shrinkFaults(run, shared.keepFaults ?? [...faults.keys()], violation);
  write(`  shrunk:   ${again} --keep ${kept.join(",") || "none"}`);
  for (const at of kept) {
    const fault = faults[at];
    if (fault !== undefined) write(`            ${at}: ${describeFault(fault)}`);
  }
}
