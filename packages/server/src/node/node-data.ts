/** What a node has of its own before it serves: directory, store, key and token, and how it is to start. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { OwnTokenStore } from "@blixard/cluster";
import { BlixardError, type CloseStack, type Logger, type Metrics, toHex } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { loadOrCreateNodeKey, type NodeKey } from "@blixard/identity";
import type { NodeStatus } from "@blixard/protocol";
import { type LevelStorage, moveStore, openLevelStorage } from "@blixard/storage/level";
import type { NodeConfig } from "../node-settings.ts";
import { readComeback } from "./comeback-file.ts";
import { checkEndpointId, type DataDir, openDataDir, writeNodeFile } from "./data-dir.ts";
import { settleNodeFile } from "./node-key-file.ts";
import {
  type FoundData,
  findData,
  joinText,
  planStart,
  refuseDuplicateNode,
  refuseLostStore,
  type StartPlan,
} from "./start-mode.ts";
import { adminTokenFile } from "./token-files.ts";

/** Those of a bootstrap: the configuration, the level, the cluster, and what a leader adds at once. */
const firstEntriesMax = 16;

export interface NodeData {
  readonly dataDir: DataDir;
  readonly storage: LevelStorage;
  readonly key: NodeKey;
  readonly adminToken: OwnTokenStore;
  readonly plan: StartPlan;
  readonly cluster: OwnCluster;
  /** When this node came back by itself last, as long as what it had then is kept. */
  readonly comeback: NodeStatus["storage"]["comeback"];
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
  // What is wrong with the arguments is found before anything is made.
  const joinWith = await joinText(config, dataDir, stdin);
  const found = await findData(dataDir);
  refuseLostStore(config, dataDir, found);
  // The store is opened first because its lock is the lock of the whole directory.
  let storage = await openLevelStorage({ dataDir: path, logger, metrics });
  opened.add("storage", () => storage.close());
  const key = await loadOrCreateNodeKey(join(path, "node.key"));
  const adminToken = adminTokenFile(dataDir);
  // What somebody else put there ends the start, not the duty that needs it later.
  await adminToken.read();
  checkEndpointId(dataDir, key.endpointId);
  await settleNodeFile(dataDir, key.endpointId);
  await refuseDuplicateNode(dataDir, found, key.endpointId, signal);
  const { endpointId } = key;
  const plan = await planStart(joinWith, dataDir, found, { env, clock: systemClock, signal, endpointId });
  if (plan.type === "join" && (await isUnfinishedCluster(dataDir, found, storage))) {
    await storage.close();
    const keptIn = join(path, `unfinished-${toHex(systemRandom.bytes(4))}`);
    logger.log("warn", "an earlier start began a new cluster and did not end; the node joins another one", { keptIn });
    await moveStore(path, keptIn);
    storage = await openLevelStorage({ dataDir: path, logger, metrics });
  }
  const comeback = await keptOfComeback(path);
  return { dataDir, storage, key, adminToken, plan, cluster: new OwnCluster(dataDir, key.endpointId), comeback };
}

async function keptOfComeback(path: string): Promise<NodeData["comeback"]> {
  const last = await readComeback(path);
  if (last === undefined || !existsSync(last.backup)) return undefined;
  const { startedUnixMs, reason, backup } = last;
  return { startedUnixMs, reason, keptIn: backup };
}

/**
 * Whether the store has nothing but the first entries of a cluster whose first start did not end, so that nobody was served
 * by it. @throws DATA_DIR_FOREIGN for a store that has more
 */
async function isUnfinishedCluster(
  { path, nodeFile }: DataDir,
  { members, recovery }: FoundData,
  { log }: LevelStorage,
): Promise<boolean> {
  if (nodeFile !== undefined || members !== undefined || recovery !== undefined) return false;
  const { base, entries } = await log.load();
  if (base.index > 0 || entries.length > firstEntriesMax) {
    throw new BlixardError(
      "DATA_DIR_FOREIGN",
      `${path} holds the data of a cluster already, and node.json is missing`,
      {
        hint: "Start it without --join to go on in that cluster, or join the other one with another --data-dir.",
      },
    );
  }
  return entries.length > 0;
}
