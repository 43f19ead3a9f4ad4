/**
 * `npm run bench -- raft-snapshot [records]`: how long the event loop stands still while a node takes a snapshot of
 * 100,000 records that its state machine hands out one by one, into a store that never waits. Prints one line of JSON;
 * the bar is 20 ms.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fromUtf8 } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, memoryStateMachine, openRaftNode } from "@blixard/raft";
import { MemoryNetwork, memoryPorts } from "@blixard/raft/testing";

const recordBytes = 100;
const id = asNodeId(1);

export async function runMemorySnapshotStall([count = "100000"]: readonly string[]): Promise<void> {
  const records = Number(count);
  const values = Array.from({ length: records }, (_, at) => `${at}`.padStart(recordBytes, "0"));
  async function* recordsNow(): AsyncIterable<Uint8Array> {
    for (const value of values) yield fromUtf8(value);
  }
  const stateMachine = memoryStateMachine({ apply: () => undefined, save: recordsNow, load: () => {} });
  const ports = memoryPorts(new MemoryNetwork({ random: systemRandom }), id);
  const node = await openRaftNode({ ...ports, stateMachine }, { id, bootstrap: { voters: [id] } });
  await node.status.until(({ ready }) => ready);
  await node.propose(fromUtf8("x"));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  // The first sample is taken against the second turn of the loop.
  await new Promise((resolve) => setTimeout(resolve, 20));
  const startedAtMs = systemClock.monotonicMs();
  await node.takeSnapshot();
  const durationMs = systemClock.monotonicMs() - startedAtMs;
  // A loop that stood still to the end is only seen by the sample after it.
  await new Promise((resolve) => setTimeout(resolve, 20));
  delay.disable();
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 10_000) / 100;
  const stallMs = { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) };
  console.log(JSON.stringify({ records, durationMs: Math.round(durationMs), stallMs }));
  await node.close();
}
