/** Profiles and counters as text for people. */
import { tableOf } from "../bench-row.ts";
import type { Setting } from "../pairs/shapes.ts";
import type { CounterRow } from "./counters.ts";
import type { ProfileSum } from "./sum-profile.ts";

/** The thread that runs JavaScript, which is the one that is profiled. */
export const mainThread = "main thread";

export interface NodeProfile {
  readonly role: string;
  readonly sum: ProfileSum;
  /** Processor time by thread. */
  readonly threadMs: Readonly<Record<string, number>>;
  readonly counters: readonly CounterRow[];
}

export interface ProfileReport {
  readonly setting: Setting;
  readonly shape: string;
  readonly operations: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failures: number;
  readonly nodes: readonly NodeProfile[];
  /** By role, of a second run under strace; empty where there is none. */
  readonly syncsPerPut: Readonly<Record<string, number>>;
}

export function textOfProfiles(report: ProfileReport, top: number): string {
  const { setting, shape, operations, perSecond, p50Ms, p99Ms, failures, nodes, syncsPerPut } = report;
  const parts = [
    `\n${shape}, ${setting.nodes} nodes over ${setting.transport}, profiled: ${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(1)} ms, ` +
      `p99 ${p99Ms.toFixed(1)} ms, ${failures} failed\n`,
  ];
  for (const { role, sum, threadMs, counters } of nodes) {
    const perOperation = (ms: number) => ((ms * 1_000) / operations).toFixed(1);
    const share = (ms: number) => `${((ms / sum.busyMs) * 100).toFixed(1)} %`;
    // Samples tell elapsed time, which on a busy machine is more than the processor gave: their shares are taken of that.
    const ofMain = (selfMs: number) => perOperation((selfMs / sum.busyMs) * (threadMs[mainThread] ?? 0));
    parts.push(`\n${role}: main thread busy ${sum.busyMs.toFixed(0)} ms, idle ${sum.idleMs.toFixed(0)} ms\n\n`);
    const threads = Object.entries(threadMs).filter(([, ms]) => ms > 0);
    threads.sort(([, a], [, b]) => b - a);
    parts.push(
      tableOf(
        ["THREADS", "US AN OPERATION", "MS"],
        threads.map(([name, ms]) => [name, perOperation(ms), ms.toFixed(0)]),
      ),
    );
    const packages = sum.packages.map(({ name, selfMs }) => [name, ofMain(selfMs), share(selfMs)]);
    parts.push("\n", tableOf(["PACKAGE, SELF TIME", "US AN OPERATION", "OF BUSY"], packages.slice(0, top)));
    const functions = sum.functions.map(({ name, place, selfMs }) => [
      name,
      perOperation(selfMs),
      share(selfMs),
      place,
    ]);
    parts.push("\n", tableOf(["FUNCTION, SELF TIME", "US AN OPERATION", "OF BUSY", "WHERE"], functions.slice(0, top)));
    const syncs = syncsPerPut[role];
    const counted: CounterRow[] = [
      ...counters,
      {
        name: "fdatasync and fsync per put",
        value: syncs ?? null,
        note:
          syncs === undefined
            ? "strace is missing: install the package strace"
            : "counted by strace, in a second and slower run",
      },
    ];
    const cells = counted.map(({ name, value, note }) => [name, value === null ? "-" : value.toFixed(3), note]);
    parts.push("\n", tableOf(["COUNTER", "VALUE", "NOTE"], cells));
  }
  return parts.join("");
}
