/** Verifies a whole data directory: identity, key and store. */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BlixardError, errnoOf, fileErrorOf, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { fileFaultOf } from "@blixard/common/system";
import { loadOrCreateNodeKey } from "@blixard/identity";
import { decodeValue, type NodeRecord, nodeRecordSchema } from "@blixard/protocol";
import { isKeyOf, type NodeFile, readNodeFile, refuseForeignDataDir } from "@blixard/server/data-dir";
import { checkLevelStorage, hasStore, type StorageFinding, type StorageReport } from "@blixard/storage/level";

export interface DataDirReport {
  readonly dataDir: string;
  readonly nodeFile: NodeFile | undefined;
  /** Everything that was verified, in its order. */
  readonly findings: readonly StorageFinding[];
  readonly damaged: boolean;
  /** Undefined when the directory holds no store. */
  readonly store: StorageReport | undefined;
  /** The members in the state; empty when it cannot be read. */
  readonly nodes: readonly NodeRecord[];
  /** Names of VMs by the node that owns them. */
  readonly vmsByNode: ReadonlyMap<number, readonly string[]>;
}

/** @throws DATA_DIR_IN_USE, DATA_DIR_INVALID when there is nothing to check or it may not be read, STORAGE_FAILED */
export async function checkDataDir(path: string): Promise<DataDirReport> {
  const dataDir = resolve(path);
  if (!(await isDirectory(dataDir))) throw noDataDir(dataDir);
  await refuseForeignDataDir(dataDir);
  const findings: StorageFinding[] = [];
  const verify = async <T>(part: string, work: () => Promise<readonly [T, string]>): Promise<T | undefined> => {
    try {
      const [value, detail] = await work();
      findings.push({ part, ok: true, detail });
      return value;
    } catch (error) {
      // A file of somebody else says nothing about this node.
      if (fileFaultOf(error) !== undefined) throw error;
      // Nothing can be said about what cannot be read: least of all that it is damaged.
      if (errnoOf(error) !== undefined || errnoOf((error as { cause?: unknown }).cause) !== undefined) {
        throw fileErrorOf(error, part);
      }
      findings.push({ part, ok: false, detail: reasonOf(error) });
      return undefined;
    }
  };
  const nodeFile = await verify("node.json", async () => {
    const file = await readNodeFile(dataDir);
    const detail =
      file === undefined ? "none: the node was in no cluster yet" : `node ${file.nodeId} of ${file.clusterId}`;
    return [file, detail] as const;
  });
  const stored = await hasStore(dataDir);
  const keyed = await exists(join(dataDir, "node.key"));
  if (nodeFile === undefined && !stored && !keyed && findings.every(({ ok }) => ok)) {
    throw noDataDir(dataDir);
  }
  await verify("node.key", async () => {
    if (!keyed) throw new BlixardError("STORAGE_CORRUPT", "missing: it is the identity of the node");
    const { endpointId } = await loadOrCreateNodeKey(join(dataDir, "node.key"));
    if (nodeFile !== undefined && !isKeyOf(nodeFile, endpointId)) {
      throw new BlixardError("DATA_DIR_FOREIGN", "not the key that the node joined with");
    }
    return [endpointId, `endpoint ${endpointId.slice(0, 10)}...`] as const;
  });
  const nodes: NodeRecord[] = [];
  const vmsByNode = new Map<number, string[]>();
  let store: StorageReport | undefined;
  if (stored) {
    store = await checkLevelStorage({
      dataDir,
      onRecords: (records) => {
        for (const { table, value } of records) {
          if (table === "nodes") nodes.push(nodeRecordSchema.parse(decodeValue(value, { stored: true })));
          if (table === "vms") noteVm(decodeValue(value, { stored: true }) as StoredVm, vmsByNode);
        }
      },
    });
    findings.push(...store.findings);
  } else findings.push({ part: "store", ok: false, detail: "missing: log, state and votes of the node are gone" });
  const damaged = findings.some(({ ok }) => !ok);
  return { dataDir, nodeFile, findings, damaged, store, nodes, vmsByNode };
}

function noDataDir(dataDir: string): BlixardError {
  return new BlixardError("DATA_DIR_INVALID", `${dataDir} is no data directory of a node`, {
    hint: "Name the one that the node was started with: --data-dir DIR",
  });
}

interface StoredVm {
  readonly name: string;
  readonly node: number | null;
}

function noteVm({ name, node }: StoredVm, vmsByNode: Map<number, string[]>): void {
  if (node !== null) vmsByNode.set(node, [...(vmsByNode.get(node) ?? []), name]);
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemErrorCodeOf(error) ?? "")) return false;
    throw fileErrorOf(error, path);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return false;
    throw fileErrorOf(error, path);
  }
}
