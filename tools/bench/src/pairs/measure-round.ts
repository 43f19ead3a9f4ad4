/** One round of load on one side, and what it cost the servers. */
import type { Acknowledged, LoadPlan } from "../load/load-plan.ts";
import { runLoad } from "../load/run-load.ts";
import { processUsage } from "../proc/process-usage.ts";
import type { Side } from "../sides/side.ts";
import type { Shape } from "./shapes.ts";

/** As it is kept: the raw sample of one round. */
export interface RoundSample {
  readonly operations: number;
  readonly writes: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly latencyBuckets: readonly (readonly [upperMs: number, count: number])[];
  /** Any of them makes the round void. */
  readonly failures: number;
  readonly firstFailure?: string;
  /** User and kernel time of all servers, for each operation. */
  readonly cpuUsPerOperation: number;
  /** What the servers sent to the disk, for each write; absent where the kernel does not tell or nothing was written. */
  readonly diskBytesPerWrite?: number;
  /** What the nodes sent each other, for each write. */
  readonly wireBytesPerWrite?: number;
  readonly nodes: readonly NodeSample[];
  readonly loadCpuSeconds: number;
}

interface NodeSample {
  readonly leads: boolean;
  readonly cpuSeconds: number;
  readonly rssMiB: number;
  readonly writtenBytes?: number;
}

interface RoundOptions {
  readonly shape: Shape;
  readonly plan: LoadPlan;
  readonly durationMs: number;
}

export interface Round {
  readonly sample: RoundSample;
  readonly acknowledged: Acknowledged;
}

export async function measureRound(side: Side, { shape, plan, durationMs }: RoundOptions): Promise<Round> {
  const leader = await side.leader();
  const endpoints = side.endpoints.filter(
    (_, node) => shape.where === "all" || (node === leader) === (shape.where === "leader"),
  );
  const usages = () => side.pids().map(processUsage);
  let [before, after] = [usages(), usages()];
  let wireBytes = 0;
  const result = await runLoad(
    { dialect: side.dialect, endpoints, plan, durationMs },
    {
      onBegin: async () => {
        wireBytes = -(await side.wireBytes());
        before = usages();
      },
      onEnd: async () => {
        after = usages();
        wireBytes += await side.wireBytes();
      },
    },
  );
  const nodes = after.map(({ cpuSeconds, rssMiB, writtenBytes }, node): NodeSample => {
    const first = before[node];
    return {
      leads: node === leader,
      cpuSeconds: cpuSeconds - (first?.cpuSeconds ?? 0),
      rssMiB,
      ...(writtenBytes === undefined ? {} : { writtenBytes: writtenBytes - (first?.writtenBytes ?? 0) }),
    };
  });
  const { writesByClient, uncertainClients, ...measured } = result;
  const disk = nodes.every(({ writtenBytes }) => writtenBytes !== undefined)
    ? nodes.reduce((sum, { writtenBytes = 0 }) => sum + writtenBytes, 0)
    : undefined;
  const sample: RoundSample = {
    ...measured,
    cpuUsPerOperation: (nodes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) * 1e6) / measured.operations,
    ...(disk === undefined || measured.writes === 0 ? {} : { diskBytesPerWrite: disk / measured.writes }),
    ...(measured.writes === 0 ? {} : { wireBytesPerWrite: wireBytes / measured.writes }),
    nodes,
  };
  return { sample, acknowledged: { plan, writesByClient, uncertainClients } };
}
