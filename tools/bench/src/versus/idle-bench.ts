/**
 * `npm run bench -- versus idle [--seconds 60] [--nodes 3] [--transport iroh] [--etcd PATH] [--only blixard|etcd] [--json]`:
 * what nodes cost that nobody asks for anything. Both sides stand at the same time, and so share whatever else the machine does.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { tableOf } from "../bench-row.ts";
import { processUsage } from "../proc/process-usage.ts";
import { binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { etcdMissing, etcdVersion, startEtcd } from "../sides/etcd-side.ts";
import type { Side } from "../sides/side.ts";

/** Until what follows a start is over: the compiler, the paths of Iroh, and the collection in which V8 gives back memory (at 25 s). */
const settleMs = 40_000;

interface IdleNode {
  readonly side: string;
  readonly node: number;
  readonly leads: boolean;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly rssMiB: number;
  /** Times a second that one of its threads went to sleep, which is as often as one was woken. */
  readonly wakeUpsPerSecond: number;
}

export async function runIdleBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "60" },
      nodes: { type: "string", default: "3" },
      transport: { type: "string", default: "iroh" },
      etcd: { type: "string", default: "etcd" },
      only: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  if (values.only !== "blixard" && etcdVersion(values.etcd) === undefined) {
    say(`${etcdMissing(values.etcd)}. Or measure ours alone: --only blixard`);
    process.exitCode = 69;
    return;
  }
  const nodes = Number(values.nodes);
  const sides: Side[] = [];
  try {
    if (values.only !== "blixard") sides.push(await startEtcd({ binary: values.etcd, nodes, onProgress: say }));
    if (values.only !== "etcd") {
      sides.push(await startBlixard({ binary, nodes, transport: values.transport, onProgress: say }));
    }
    say(`nobody asks for anything for ${(settleMs + Number(values.seconds) * 1_000) / 1_000} s`);
    await sleep(settleMs);
    const measured = await measure(sides, Number(values.seconds) * 1_000);
    process.stdout.write(values.json ? `${JSON.stringify(measured)}\n` : textOf(measured));
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

async function measure(sides: readonly Side[], durationMs: number): Promise<IdleNode[]> {
  const look = () => sides.map((side) => side.pids().map((pid) => ({ ...processUsage(pid), ...threadsOf(pid) })));
  const before = look();
  await sleep(durationMs);
  const after = look();
  const seconds = durationMs / 1_000;
  // Asking who leads is work, so it comes last.
  const leaders = await Promise.all(sides.map((side) => side.leader()));
  return sides.flatMap((side, at) =>
    (after[at] ?? []).map((end, node) => {
      const start = before[at]?.[node] ?? end;
      return {
        ...{ side: side.name, node: node + 1, leads: leaders[at] === node, rssMiB: end.rssMiB },
        cpuPercent: ((end.runSeconds - start.runSeconds) / seconds) * 100,
        wakeUpsPerSecond: (end.sleeps - start.sleeps) / seconds,
      };
    }),
  );
}

/**
 * Of all threads, see proc(5); one that ended takes its numbers along. Whoever runs for a moment at each wake-up is seen
 * too often or never by the ticks that `stat` counts, so the time comes from the scheduler.
 */
function threadsOf(pid: number): { readonly runSeconds: number; readonly sleeps: number } {
  let [runNs, sleeps] = [0, 0];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const read = (file: string) => readFileSync(`/proc/${pid}/task/${thread}/${file}`, "utf8");
      runNs += Number(read("schedstat").split(" ")[0]);
      sleeps += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(read("status"))?.[1] ?? 0);
    } catch {
      // It ended after the folder was read.
    }
  }
  return { runSeconds: runNs / 1e9, sleeps };
}

function textOf(nodes: readonly IdleNode[]): string {
  const rows = nodes.map(({ side, node, leads, cpuPercent, rssMiB, wakeUpsPerSecond }) => [
    ...[side, `${node}${leads ? " leads" : ""}`, cpuPercent.toFixed(2), wakeUpsPerSecond.toFixed(0), rssMiB.toFixed(0)],
  ]);
  return tableOf(["SIDE", "NODE", "% OF A CORE", "WAKE-UPS/S", "RSS MIB"], rows);
}
