/** What a node has of its own before it serves: directory, store, key and token, and how it is to start. */
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { OwnTokenStore } from "@blixard/cluster";
import type { CloseStack, Logger, Metrics } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { loadOrCreateNodeKey, type NodeKey } from "@blixard/identity";
import { type LevelStorage, openLevelStorage } from "@blixard/storage/level";
import type { NodeConfig } from "../node-settings.ts";
import { checkEndpointId, type DataDir, openDataDir, writeNodeFile } from "./data-dir.ts";
import { findData, planStart, refuseDuplicateNode, refuseLostStore, type StartPlan } from "./start-mode.ts";
import { adminTokenFile } from "./token-files.ts";

export interface NodeData {
  readonly dataDir: DataDir;
  readonly storage: LevelStorage;
  readonly key: NodeKey;
  readonly adminToken: OwnTokenStore;
  readonly plan: StartPlan;
  readonly cluster: OwnCluster;
}

export interface NodeDataDeps {
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly signal: AbortSignal;
}

/** The cluster that the node is in, as `node.json` says. */
export class OwnCluster {
  readonly #dataDir: DataDir;
  readonly #endpointId: string;
  #id: string;

  constructor(dataDir: DataDir, endpointId: string) {
    this.#dataDir = dataDir;
    this.#endpointId = endpointId;
    this.#id = dataDir.nodeFile?.clusterId ?? "";
  }

  /** Empty before the node is in one for the first time. */
  get id(): string {
    return this.#id;
  }

  /** Durable when it resolves. */
  async enter(clusterId: string): Promise<void> {
    this.#id = clusterId;
    await writeNodeFile(this.#dataDir, {
      ...{ formatVersion: 1, nodeId: this.#dataDir.nodeId, clusterId, endpointId: this.#endpointId },
      createdUnixMs: systemClock.unixMs(),
    });
  }
}

/** @throws DATA_DIR_*, KEY_FILE_TOO_OPEN, STORAGE_*, DUPLICATE_NODE, and what `planStart` throws */
export async function openNodeData(config: NodeConfig, deps: NodeDataDeps, opened: CloseStack): Promise<NodeData> {
  const { logger, metrics, signal, stdin, env } = deps;
  const dataDir = await openDataDir({ id: config.id, dataDir: config.dataDir }, env);
  const { path } = dataDir;
  const found = await findData(dataDir);
  refuseLostStore(config, dataDir, found);
  // The store is opened first because its lock is the lock of the whole directory.
  const storage = await openLevelStorage({ dataDir: path, logger, metrics });
  opened.add("storage", () => storage.close());
  const key = await loadOrCreateNodeKey(join(path, "node.key"));
  const adminToken = adminTokenFile(dataDir);
  // What somebody else put there ends the start, not the duty that needs it later.
  await adminToken.read();
  checkEndpointId(dataDir, key.endpointId);
  await refuseDuplicateNode(dataDir, found, key.endpointId, signal);
  const { endpointId } = key;
  const plan = await planStart(config, dataDir, found, { env, stdin, clock: systemClock, signal, endpointId });
  return { dataDir, storage, key, adminToken, plan, cluster: new OwnCluster(dataDir, key.endpointId) };
}
