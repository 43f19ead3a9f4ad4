/**
 * `npm run bench -- bad-member`: the latency of committed writes through three voters, with and without a worker whose key floods
 * them from a process of its own: calls, entries of the log, streams and questions for a read index. That process has the
 * processors only when nobody else wants them. A shared machine is not the same from minute to minute, so that each flood is held
 * against the mean of what came before it and after it.
 * Exits with 1 when the median of the ratios is above the bar.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ProcessCluster, ProcessNode } from "@blixard/testing";
import { measureWrites, type WriteRun } from "../cluster/writes.ts";
import { binary } from "../sides/binary.ts";
import { median } from "../statistics/medians.ts";
import type { FloodCount, FloodOrder } from "./bad-member-process.ts";

const main = fileURLToPath(new URL("../main.js", import.meta.url));
const flags = ["--vm-driver", "fake", "--log-level", "error"];
const workerId = 4;
/** The budgets let through what a member may do at once. What counts is what comes after that. */
const burstMs = 5_000;
const ratioMax = 1.2;

interface Round {
  readonly before: WriteRun;
  readonly flooded: WriteRun;
  readonly after: WriteRun;
  readonly flood: FloodCount;
}

export async function runBadMemberBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "15" },
      rounds: { type: "string", default: "7" },
      clients: { type: "string", default: "8" },
      /** Messages that the worker sends each second, a quarter of each kind. */
      rate: { type: "string", default: "1000" },
    },
  });
  const durationMs = Number(values.seconds) * 1_000;
  const clients = Number(values.clients);
  const cluster = await ProcessCluster.start({ binary, flags });
  try {
    const order = await stolenKey(cluster, Number(values.rate));
    const rounds: Round[] = [];
    let before = await measureWrites(cluster, clients, durationMs);
    while (rounds.length < Number(values.rounds)) {
      const child = await startFlood({ ...order, starts: order.starts + rounds.length });
      await measureWrites(cluster, clients, burstMs);
      const flooded = await measureWrites(cluster, clients, durationMs);
      const flood = await endFlood(child);
      const after = await measureWrites(cluster, clients, durationMs);
      rounds.push({ before, flooded, after, flood });
      before = after;
    }
    const ratioOf = (name: "p50Ms" | "p99Ms") =>
      median(rounds.map(({ before, flooded, after }) => (2 * flooded[name]) / (before[name] + after[name])));
    const [p50Ratio, p99Ratio] = [ratioOf("p50Ms"), ratioOf("p99Ms")];
    const bars = {
      [`p50 at most ${ratioMax} times that without the flood`]: p50Ratio <= ratioMax,
      "no write failed": rounds.every(({ flooded }) => flooded.failures === 0),
      "the flood was refused": rounds.every(({ flood }) => flood.refused > flood.passed),
      "no process ended": cluster.nodes.every(({ isRunning }) => isRunning),
    };
    process.stdout.write(`${JSON.stringify({ rounds, p50Ratio, p99Ratio, bars }, null, 2)}\n`);
    if (Object.values(bars).includes(false)) process.exitCode = 1;
  } finally {
    await cluster.close();
  }
}

/** A worker joins and stops; what is left of it is its key. */
async function stolenKey(cluster: ProcessCluster, rate: number): Promise<FloodOrder> {
  const leader = cluster.node(await cluster.waitForLeader());
  const client = cluster.client(leader.id);
  const { ticket } = await client.tickets.create({ role: "worker" });
  const dataDir = join(cluster.dataRoot, `node-${workerId}`);
  const worker = await ProcessNode.start({ binary, id: workerId, dataDir, flags, join: ticket });
  await worker.stop();
  client.close();
  const { endpointId, bind } = leader.ready;
  const target = { nodeId: leader.id, endpointId, addresses: [bind] };
  return { keyFile: join(dataDir, "node.key"), nodeId: workerId, target, rate, starts: 1_000_000 };
}

async function startFlood(order: FloodOrder): Promise<ChildProcess> {
  const child = fork(main, ["bad-member-process"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  // It stands for another machine, whose own work costs the cluster nothing.
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
  child.send(order);
  await once(child, "message");
  return child;
}

async function endFlood(child: ChildProcess): Promise<FloodCount> {
  const counted = once(child, "message");
  child.send("end");
  const [count] = await counted;
  child.disconnect();
  await once(child, "exit");
  return count as FloodCount;
}
