/**
 * The data directory of a node:
 *
 *     node.json      whose directory it is; written when the node is in a cluster
 *     node.key       the node's Ed25519 seed: its identity
 *     node.key.next  the one that takes its place, while the key is rotated
 *     admin.token    the administrator's token of a voter, as the list of tokens knows it
 *     local.token    shows how this node is, and nothing else
 *     join.json      the members as this node saw them last: where to ask when the store is lost
 *     recover.json   the node is on its way back after `blixard recover`, or by itself
 *     comeback.json  when it came back by itself last, and why
 *     backup-TIME/      stores that were moved or copied aside
 *     runtime.json   where it serves, while it runs
 *     STORAGE, log/, state/, snapshots/, vote    the store, which also holds the lock
 *     vms/           images, instances, disks and consoles of VMs, unless they have a directory of their own (--vm-dir)
 *     reserve        takes room that the node gets when VMs have taken all else
 */
import { lstat, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { defaultDataRoot, type RuntimeFile } from "@blixard/client";
import { BlixardError, errnoOf, fileErrorOf, isBlixardError, reasonOf, systemErrorCodeOf } from "@blixard/common";
import {
  assertOwnDirectory,
  makePrivateDirectory,
  narrowDirectory,
  readOwnFile,
  refuseEntry,
  writeFileDurable,
} from "@blixard/common/system";
import { endpointIdSchema, nodeIdSchema } from "@blixard/protocol";
import { z } from "zod";

const nodeFileSchema = z.object({
  formatVersion: z.literal(1),
  nodeId: nodeIdSchema,
  clusterId: z.string().min(1),
  endpointId: endpointIdSchema,
  /** The key to which the node is changing. */
  nextEndpointId: endpointIdSchema.optional(),
  createdUnixMs: z.int(),
});
export type NodeFile = z.infer<typeof nodeFileSchema>;

export interface DataDir {
  readonly path: string;
  readonly nodeId: number;
  /** Absent until the node is in a cluster. */
  readonly nodeFile: NodeFile | undefined;
}

/** What is opened by its name: by Level, by the VM manager, by offline tools. */
const partsOpenedByName = ["STORAGE", "vote", "seal", "log", "state", "snapshots", "vms"] as const;
const levelParts: readonly string[] = ["log", "state", "snapshots"];

/**
 * Finds, or makes, the directory, and checks that it belongs to the node with this id; takes no lock.
 * @throws INVALID_ARGUMENT, DATA_DIR_FOREIGN, DATA_DIR_INVALID, STORAGE_FAILED
 */
export async function openDataDir(
  options: { readonly id: number | undefined; readonly dataDir: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): Promise<DataDir> {
  if (options.dataDir === undefined && options.id === undefined) throw idIsMissing();
  const path = resolve(options.dataDir ?? join(defaultDataRoot(env), `node-${options.id}`));
  await refuseForeignDataDir(path, { emptyMayBeWide: true });
  const nodeFile = await readNodeFile(path);
  const nodeId = options.id ?? nodeFile?.nodeId;
  if (nodeId === undefined) throw idIsMissing();
  if (nodeFile !== undefined && nodeFile.nodeId !== nodeId) {
    throw new BlixardError("DATA_DIR_FOREIGN", `${path} belongs to node ${nodeFile.nodeId}, not to node ${nodeId}`, {
      hint: `Start it with --id ${nodeFile.nodeId}, or give node ${nodeId} a --data-dir of its own.`,
    });
  }
  makePrivate(path);
  return { path, nodeId, nodeFile };
}

/** Refuses a directory whose key was exchanged: that would be another node with this one's memory. */
export function checkEndpointId(dataDir: DataDir, endpointId: string): void {
  if (dataDir.nodeFile === undefined || isKeyOf(dataDir.nodeFile, endpointId)) return;
  throw new BlixardError("DATA_DIR_FOREIGN", `the key in ${dataDir.path} is not the one that the node joined with`, {
    hint: "Restore node.key from a backup. A new key needs an empty data directory and a new ticket.",
    details: { expected: dataDir.nodeFile.endpointId, found: endpointId },
  });
}

/** Whether a directory with this file may have the key. While a node changes its key there are two. */
export function isKeyOf({ endpointId, nextEndpointId }: NodeFile, found: string): boolean {
  return found === endpointId || found === nextEndpointId;
}

export async function writeNodeFile(dataDir: DataDir, nodeFile: NodeFile): Promise<void> {
  await writeFileDurable(join(dataDir.path, "node.json"), `${JSON.stringify(nodeFile, null, 2)}\n`);
}

export async function writeRuntimeFile(dataDir: DataDir, runtime: RuntimeFile): Promise<void> {
  await writeFileDurable(join(dataDir.path, "runtime.json"), `${JSON.stringify(runtime, null, 2)}\n`);
}

export async function removeRuntimeFile(dataDir: DataDir): Promise<void> {
  await rm(join(dataDir.path, "runtime.json"), { force: true });
}

export async function readNodeFile(directory: string): Promise<NodeFile | undefined> {
  const path = join(directory, "node.json");
  try {
    return nodeFileSchema.parse(JSON.parse(readOwnFile(path, { public: true })));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw invalid(path, error);
  }
}

/**
 * Refuses a directory that somebody else owns or can use, and links and foreign entries in it; one that does not exist is
 * nobody's. @throws DATA_DIR_INVALID, STORAGE_FAILED
 */
export async function refuseForeignDataDir(
  path: string,
  options: { readonly emptyMayBeWide?: boolean } = {},
): Promise<void> {
  try {
    assertOwnDirectory(path, options);
    await Promise.all(partsOpenedByName.map((name) => refuseForeignPart(join(path, name), levelParts.includes(name))));
  } catch (error) {
    if (systemErrorCodeOf(error) !== "ENOENT") throw invalid(path, error);
  }
}

async function refuseForeignPart(path: string, isLevel: boolean): Promise<void> {
  try {
    const stats = await lstat(path);
    refuseEntry(path, stats);
    if (!isLevel || !stats.isDirectory()) return;
    for (const name of await readdir(path)) refuseEntry(join(path, name), await lstat(join(path, name)));
  } catch (error) {
    if (systemErrorCodeOf(error) !== "ENOENT") throw error;
  }
}

function makePrivate(path: string): void {
  try {
    makePrivateDirectory(path);
    narrowDirectory(path);
  } catch (error) {
    throw invalid(path, error);
  }
}

function idIsMissing(): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", "--id is missing: which node of its cluster is this?", {
    hint: "For example: blixard node --id 1",
  });
}

function invalid(path: string, cause: unknown): BlixardError {
  if (isBlixardError(cause) || errnoOf(cause) !== undefined) return fileErrorOf(cause, path);
  return new BlixardError("DATA_DIR_INVALID", `${path}: ${reasonOf(cause)}`, {
    cause,
    hint: "Choose another --data-dir, or see to it that this user can use it.",
  });
}
