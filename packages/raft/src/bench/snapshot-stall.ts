/**
 * How long the event loop stands still while a node takes a snapshot of 100,000 records that its state machine hands
 * out one by one, into a store that never waits. Prints one line of JSON; the bar is 20 ms.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { discardMetrics, fromUtf8, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId } from "../core/types.ts";
import { memoryStateMachine } from "../memory-state-machine.ts";
import { createRaftNode } from "../raft-node.ts";
import { MemoryLogStore, MemoryNetwork, MemorySnapshotStore } from "../testing/index.ts";

const records = Number(process.argv[2] ?? 100_000);
const recordBytes = 100;
const id = asNodeId(1);

const values = Array.from({ length: records }, (_, at) => `${at}`.padStart(recordBytes, "0"));

async function* recordsNow(): AsyncIterable<Uint8Array> {
  const count = values.length;
  for (let at = 0; at < count; at++) yield fromUtf8(values[at] ?? "");
}

const node = createRaftNode(
  {
    ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics },
    ...{ log: new MemoryLogStore(), snapshots: new MemorySnapshotStore() },
    stateMachine: memoryStateMachine({ apply: () => undefined, save: recordsNow, load: () => {} }),
    transport: new MemoryNetwork({ random: systemRandom }).transport(id),
    onFatal: (error) => {
      throw error;
    },
  },
  { id, bootstrap: { voters: [id] } },
);
await node.start();
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
console.log(
  JSON.stringify({
    ...{ records, durationMs: Math.round(durationMs) },
    stallMs: { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) },
  }),
);
await node.close();
