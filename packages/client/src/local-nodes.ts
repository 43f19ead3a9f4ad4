/**
 * The nodes that run on this machine under the data root of this user, with their credentials: what lets a command
 * find the cluster without a word about addresses and tokens.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { BlixardError, errorCodeOf } from "@blixard/common";
import { assertOwnDirectory, fileFaultOf, readOwnFile } from "@blixard/common/system";
import { parseNodeAddress } from "./address.ts";
import type { ClientTarget } from "./blixard-client.ts";

/** What a running daemon writes to `<data-dir>/runtime.json`. */
export interface RuntimeFile {
  readonly pid: number;
  readonly nodeId: number;
  readonly clusterId: string;
  readonly endpointId: string;
  /** `host:port`. */
  readonly bind: string;
  /** `http://host:port`, or `off`. */
  readonly http: string;
}

export interface LocalNode extends RuntimeFile {
  readonly dataDir: string;
  /** The administrator's token of a voter; undefined for everybody else. */
  readonly token: string | undefined;
  /** What shows how this node is, and nothing else. */
  readonly localToken: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where data directories are made by default: `$XDG_DATA_HOME/blixard`.
 * @throws INVALID_ARGUMENT for a user without a home directory
 */
export function defaultDataRoot(env: Environment = process.env): string {
  const home = env["XDG_DATA_HOME"];
  return join(home === undefined || home === "" ? join(userHome(), ".local", "share") : home, "blixard");
}

/** A user id may stand in no list of users, as in many containers. */
function userHome(): string {
  try {
    return homedir();
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", "this user has no home directory, where data could be kept", {
      cause: error,
      hint: "Give --data-dir DIR, or set HOME or XDG_DATA_HOME to a directory of this user.",
    });
  }
}

/** What stands in a data root. */
interface LocalNodes {
  /** By node id. */
  readonly nodes: LocalNode[];
  /** Why one was left out that somebody else may have written. */
  readonly refusal?: unknown;
}

/** The running nodes of the default data root of this user, if there is one. */
export async function findOwnNodes(env: Environment = process.env): Promise<LocalNodes> {
  try {
    return await findLocalNodes(defaultDataRoot(env));
  } catch (error) {
    if (errorCodeOf(error) === "INVALID_ARGUMENT") return { nodes: [] };
    throw error;
  }
}

export async function listOwnNodes(env: Environment = process.env): Promise<LocalNode[]> {
  return (await findOwnNodes(env)).nodes;
}

/** The running nodes whose data directories stand in `dataRoot`, by node id. Unreadable ones are left out. */
export async function listLocalNodes(dataRoot = defaultDataRoot()): Promise<LocalNode[]> {
  return (await findLocalNodes(dataRoot)).nodes;
}

async function findLocalNodes(dataRoot: string): Promise<LocalNodes> {
  const names = await readdir(dataRoot).catch(() => []);
  const directories = names
    .map((name) => join(dataRoot, name))
    .filter((path) => existsSync(join(path, "runtime.json")));
  const looks = await Promise.allSettled(directories.map(readLocalNode));
  const nodes = looks.flatMap((look) => (look.status === "fulfilled" && look.value !== undefined ? [look.value] : []));
  const refused = looks.find((look) => look.status === "rejected");
  return { nodes: nodes.sort((a, b) => a.nodeId - b.nodeId), refusal: refused?.reason };
}

/**
 * The node that runs on `dataDir`, or undefined when none does.
 * @throws DATA_DIR_INVALID where somebody else may have written what it says
 */
export async function readLocalNode(dataDir: string): Promise<LocalNode | undefined> {
  try {
    assertOwnDirectory(dataDir);
    const runtime = JSON.parse(readOwnFile(join(dataDir, "runtime.json"))) as RuntimeFile;
    // A killed daemon leaves the file behind.
    process.kill(runtime.pid, 0);
    const token = readToken(join(dataDir, "admin.token"));
    return { ...runtime, dataDir, token, localToken: readToken(join(dataDir, "local.token")) };
  } catch (error) {
    if (fileFaultOf(error) !== undefined) throw error;
    return undefined;
  }
}

function readToken(path: string): string | undefined {
  try {
    return readOwnFile(path).trim();
  } catch (error) {
    if (fileFaultOf(error) !== undefined) throw error;
    return undefined;
  }
}

/** The node of `nodes` that serves at `address`, if one does. */
export function findLocalNode(nodes: readonly LocalNode[], address: string): LocalNode | undefined {
  const port = parseNodeAddress(address).port;
  return nodes.find((node) => parseNodeAddress(node.bind).port === port || servesPlain(node, port));
}

/** How to reach a local node: its bind port with the key that it must prove there, or its HTTP port if `address` is that. */
export function localTarget(node: LocalNode, address = node.bind): ClientTarget {
  const token = node.token === undefined ? {} : { token: node.token };
  return servesPlain(node, parseNodeAddress(address).port)
    ? { address: node.http, ...token }
    : { address, pin: node.endpointId, ...token };
}

/** How to ask a local node how it is, without any right in its cluster; undefined when its token cannot be read. */
export function ownStatusTarget(node: LocalNode): ClientTarget | undefined {
  const { bind, endpointId, localToken } = node;
  return localToken === undefined ? undefined : { address: bind, pin: endpointId, token: localToken, isOwnToken: true };
}

function servesPlain({ http }: LocalNode, port: number): boolean {
  return http !== "off" && parseNodeAddress(http).port === port;
}
