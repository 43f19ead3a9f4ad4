/** The bulk lane of a node, with what the node gives over it and what it takes. */
import { join } from "node:path";
import { type BulkIrohSettings, type BulkLane, createBulkLane } from "@blixard/bulk";
import type { Clock, Logger, Metrics } from "@blixard/common";
import type { NodeTls } from "@blixard/identity";
import type { SnapshotCarrier, SnapshotStore } from "@blixard/raft";
import type { Transport } from "@blixard/transport";
import type { FetchBlob, FetchDiskPart } from "@blixard/vm-manager";
import { createDiskFetch } from "./bulk-disks.ts";
import { createBlobFetch } from "./bulk-images.ts";
import { createSnapshotCarrier, snapshotObjects } from "./bulk-snapshots.ts";

export interface NodeBulkDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly transport: Pick<Transport, "peer" | "onBroken" | "sessions" | "call">;
  readonly secretKey: Uint8Array;
  readonly tls: NodeTls;
  /** Where this node uses Iroh: how a worker for bulk data binds it. */
  readonly iroh: BulkIrohSettings | undefined;
  readonly dataDir: string;
  readonly snapshots: SnapshotStore;
  /** MiB per second of the disks of VMs that come here; 0: as many as there are. */
  readonly diskCopyMib: number;
}

export interface NodeBulk {
  readonly lane: BulkLane;
  readonly snapshotCarrier: SnapshotCarrier;
  readonly fetchBlob: FetchBlob;
  readonly fetchDiskPart: FetchDiskPart;
}

export function createNodeBulk(deps: NodeBulkDeps): NodeBulk {
  const { transport, dataDir, snapshots } = deps;
  const lane = createBulkLane({
    ...deps,
    peers: transport,
    call: (...given) => transport.call(...given),
    providers: { snapshot: snapshotObjects(snapshots) },
  });
  const snapshotCarrier = createSnapshotCarrier({
    lane,
    directory: join(dataDir, "incoming-snapshot"),
    members: () => transport.sessions().map(({ nodeId }) => nodeId),
  });
  const fetchDiskPart = createDiskFetch(lane, deps.diskCopyMib);
  return { lane, snapshotCarrier, fetchBlob: createBlobFetch(lane), fetchDiskPart };
}
