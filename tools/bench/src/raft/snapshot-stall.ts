/**
 * How long a snapshot of 100,000 key-value records of the cluster's own state machine holds up the event loop. The
 * same time without a snapshot shows how much of it is the machine.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type AppliedCommand, createClusterStateMachine } from "@blixard/cluster";
import { assert, seededRandom } from "@blixard/common";
import { encodeCommand } from "@blixard/protocol";
import { asNodeId, type RaftNode } from "@blixard/raft";
import { MemoryNetwork } from "@blixard/raft/testing";
import { openLevelStorage } from "@blixard/storage/level";
import type { BenchRow } from "../bench-row.ts";
import { median } from "../statistics/medians.ts";
import { startMember, withDirectory } from "./level-group.ts";
import { longestStall } from "./stall-watch.ts";

const recordsCount = 100_000;
const stallMsMax = 20;
const inFlightMax = 1_000;
const valueText = "v".repeat(100);

export async function measureSnapshotStall(rounds: number): Promise<BenchRow> {
  return await withDirectory(async (directory) => {
    const storage = await openLevelStorage({ dataDir: join(directory, "node") });
    const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());
    const machine = createClusterStateMachine(storage.state, sha256);
    const id = asNodeId(1);
    const network = new MemoryNetwork({ random: seededRandom(1) });
    const options = { id, bootstrap: { voters: [id] }, snapshotEntries: 0 };
    const { node } = await startMember<AppliedCommand>(storage, network, machine, options);
    await node.status.until(({ ready }) => ready);
    for (let at = 0; at < recordsCount; at += inFlightMax) await putMany(node, at, inFlightMax);
    assert(machine.state.kv.size === recordsCount, `there are ${machine.state.kv.size} records`);
    const stalls: number[] = [];
    const quiet: number[] = [];
    const durations: number[] = [];
    for (let round = -1; round < rounds; round++) {
      // A snapshot is taken only where something was applied since the last one.
      await putMany(node, 0, 1);
      const startedMs = performance.now();
      const { driftMs } = await longestStall(() => node.takeSnapshot());
      const durationMs = performance.now() - startedMs;
      const idle = await longestStall(() => sleep(durationMs));
      if (round < 0) continue;
      stalls.push(driftMs);
      quiet.push(idle.driftMs);
      durations.push(durationMs);
    }
    await node.close();
    await storage.close();
    const value = median(stalls);
    return {
      name: `snapshot of ${recordsCount} records of the cluster's state machine, longest stall`,
      value,
      unit: "ms",
      bar: `at most ${stallMsMax} ms`,
      ratio: undefined,
      met: value <= stallMsMax,
      note: `worst ${Math.max(...stalls).toFixed(1)}, idle ${median(quiet).toFixed(1)}, took ${median(durations).toFixed(0)} ms`,
    };
  });
}

async function putMany(node: RaftNode<AppliedCommand>, from: number, count: number): Promise<void> {
  const outcomes = Array.from({ length: count }, (_, at) =>
    node.propose(
      encodeCommand({
        requestId: "",
        atUnixMs: 0,
        actor: { kind: "system", id: "bench" },
        body: { type: "kv.put", key: `bench/${from + at}`, value: valueText },
      }),
    ),
  );
  await Promise.all(outcomes);
}
