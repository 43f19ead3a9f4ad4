/**
 * The data directory of a node:
 *
 *     node.json      whose directory it is; written when the node is in a cluster
 *     node.key       the node's Ed25519 seed: its identity
 *     admin.token    the administrator's token of a voter, as the list of tokens knows it
 *     local.token    shows how this node is, and nothing else
 *     join.json      the members as this node saw them last: where to ask when the store is lost
 *     recover.json   the node is on its way back after `blixard recover`
 *     backup-TIME/      stores that were moved or copied aside
 *     runtime.json   where it serves, while it runs
 *     STORAGE, log/, state/, snapshots/, vote    the store, which also holds the lock
 *     vms/           images, instances and consoles of VMs
 */
import { chmod, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { defaultDataRoot, type RuntimeFile } from "@blixard/client";
import { BlixardError, errnoOf, fileErrorOf, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { writeFileDurable } from "@blixard/common/system";
import { endpointIdSchema, nodeIdSchema } from "@blixard/protocol";
import { z } from "zod";

const nodeFileSchema = z.object({
  formatVersion: z.literal(1),
  nodeId: nodeIdSchema,
  clusterId: z.string().min(1),
  endpointId: endpointIdSchema,
  createdUnixMs: z.int(),
});
export type NodeFile = z.infer<typeof nodeFileSchema>;

export interface DataDir {
  readonly path: string;
  readonly nodeId: number;
  /** Absent until the node is in a cluster. */
  readonly nodeFile: NodeFile | undefined;
}

const privateMode = 0o700;
const wideModeBits = 0o077;

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
  const nodeFile = await readNodeFile(path);
  const nodeId = options.id ?? nodeFile?.nodeId;
  if (nodeId === undefined) throw idIsMissing();
  if (nodeFile !== undefined && nodeFile.nodeId !== nodeId) {
    throw new BlixardError("DATA_DIR_FOREIGN", `${path} belongs to node ${nodeFile.nodeId}, not to node ${nodeId}`, {
      hint: `Start it with --id ${nodeFile.nodeId}, or give node ${nodeId} a --data-dir of its own.`,
    });
  }
  await makePrivate(path);
  return { path, nodeId, nodeFile };
}

/** Refuses a directory whose key was exchanged: that would be another node with this one's memory. */
export function checkEndpointId(dataDir: DataDir, endpointId: string): void {
  if (dataDir.nodeFile === undefined || dataDir.nodeFile.endpointId === endpointId) return;
  throw new BlixardError("DATA_DIR_FOREIGN", `the key in ${dataDir.path} is not the one that the node joined with`, {
    hint: "Restore node.key from a backup. A new key needs an empty data directory and a new ticket.",
    details: { expected: dataDir.nodeFile.endpointId, found: endpointId },
  });
}

export async function writeNodeFile(dataDir: DataDir, nodeFile: NodeFile): Promise<void> {
  await writeFileDurable(join(dataDir.path, "node.json"), `${JSON.stringify(nodeFile, null, 2)}\n`);
}

export async function writeRuntimeFile(dataDir: DataDir, runtime: RuntimeFile): Promise<void> {
  await writeFile(join(dataDir.path, "runtime.json"), `${JSON.stringify(runtime, null, 2)}\n`, { mode: 0o600 });
}

export async function removeRuntimeFile(dataDir: DataDir): Promise<void> {
  await rm(join(dataDir.path, "runtime.json"), { force: true });
}

export async function readNodeFile(directory: string): Promise<NodeFile | undefined> {
  const path = join(directory, "node.json");
  try {
    return nodeFileSchema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw invalid(path, error);
  }
}

async function makePrivate(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: privateMode });
    await narrow(path, privateMode);
  } catch (error) {
    throw invalid(path, error);
  }
}

/** Takes the rights of group and others away. Windows has none of these bits. */
async function narrow(path: string, mode: number): Promise<void> {
  if (process.platform === "win32") return;
  if (((await stat(path)).mode & wideModeBits) !== 0) await chmod(path, mode);
}

function idIsMissing(): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", "--id is missing: which node of its cluster is this?", {
    hint: "For example: blixard node --id 1",
  });
}

function invalid(path: string, cause: unknown): BlixardError {
  if (errnoOf(cause) !== undefined) return fileErrorOf(cause, path);
  return new BlixardError("DATA_DIR_INVALID", `${path}: ${reasonOf(cause)}`, {
    cause,
    hint: "Choose another --data-dir, or see to it that this user can use it.",
  });
}
