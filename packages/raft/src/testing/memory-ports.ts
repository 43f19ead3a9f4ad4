/** Everything that a node needs beside its state machine, in memory and on the clock of this machine. */
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import type { NodeId } from "../core/types.ts";
import type { RaftNodeDeps } from "../raft-node-types.ts";
import { MemoryLogStore } from "./memory-log-store.ts";
import type { MemoryNetwork } from "./memory-network.ts";
import { MemorySnapshotStore } from "./memory-snapshot-store.ts";

/** The ports of one node on `network`. What it stores is gone with them; a fatal error is thrown where nobody catches it. */
export function memoryPorts(network: MemoryNetwork, id: NodeId): Omit<RaftNodeDeps<never>, "stateMachine"> {
  return {
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    metrics: discardMetrics,
    log: new MemoryLogStore(),
    snapshots: new MemorySnapshotStore(),
    transport: network.transport(id),
    onFatal: (error) => {
      throw error;
    },
  };
}
