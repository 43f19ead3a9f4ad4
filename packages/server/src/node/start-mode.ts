/** Decides how a node starts: with what it has, with a ticket, with an address, or as a new cluster. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { connectClient, readLocalNode } from "@blixard/client";
import type { JoinSeed, JoinTarget } from "@blixard/cluster";
import {
  BlixardError,
  type Clock,
  directAddresses,
  errorCodeOf,
  parseHostPort,
  reasonOf,
  sleep,
  systemErrorCodeOf,
} from "@blixard/common";
import { readNamedFile } from "@blixard/common/system";
import { fetchPeerIdentity, ticketCrypto } from "@blixard/identity";
import { decodeTicket, type JoinTicket, showTicket, ticketPrefix } from "@blixard/protocol";
import { hasStore } from "@blixard/storage/level";
import type { NodeConfig } from "../node-settings.ts";
import type { DataDir } from "./data-dir.ts";
import { proveLocally } from "./local-joins.ts";
import { readMembers } from "./members-file.ts";
import { type RecoveryFile, readRecovery } from "./recovery-file.ts";

export type StartPlan =
  | { readonly type: "resume"; readonly ignoredJoin: boolean }
  | { readonly type: "bootstrap" }
  | { readonly type: "join"; readonly target: JoinTarget; readonly byAddress: string | undefined };

const ticketBytesMax = 64 * 1024;
const identityTimeoutMs = 3_000;
const identityPatienceMs = 30_000;
const identityRetryMs = 300;
const clusterAnswerMs = 1_000;
const ownAnswerMs = 1_000;

/** What was in the data directory before this start touched it. */
export interface FoundData {
  readonly hasStore: boolean;
  readonly hasKey: boolean;
  readonly recovery: RecoveryFile | undefined;
  readonly members: JoinSeed | undefined;
}

export async function findData({ path }: DataDir): Promise<FoundData> {
  return {
    hasStore: await hasStore(path),
    hasKey: existsSync(join(path, "node.key")),
    recovery: await readRecovery(path),
    members: await readMembers(path),
  };
}

/**
 * A key without a store belongs to a node that has forgotten what it voted for and acknowledged. It may come back only
 * through the others. @throws STORAGE_CORRUPT
 */
export function refuseLostStore(config: NodeConfig, { path, nodeFile }: DataDir, found: FoundData): void {
  if (found.hasStore || found.recovery !== undefined) return;
  if (nodeFile !== undefined) {
    throw new BlixardError("STORAGE_CORRUPT", `the store of node ${nodeFile.nodeId} is gone from ${path}`, {
      hint: isOnlyVoter(found.members)
        ? "It was the only voter of its cluster, so nobody else has its data: restore the data directory from a backup."
        : `Let it come back as a learner: blixard recover --data-dir ${path}`,
    });
  }
  if (found.hasKey && config.join === undefined && config.joinFile === undefined) {
    throw new BlixardError("STORAGE_CORRUPT", `${path} has the key of a node, and nothing else of it`, {
      hint: "Start it with --join to come back as a learner, or delete node.key too: that makes a new node.",
    });
  }
}

function isOnlyVoter(members: JoinSeed | undefined): boolean {
  if (members === undefined) return false;
  return members.nodes.every(({ id, role }) => id === members.nodeId || (role !== "voter" && role !== "witness"));
}

/**
 * Nobody answers with the key of this node before it has bound a port, unless it runs already: from the directory that this
 * one is a copy of. The only node of a cluster has nobody else to ask. @throws DUPLICATE_NODE
 */
export async function refuseDuplicateNode(
  { path, nodeId }: DataDir,
  { members }: Pick<FoundData, "members">,
  endpointId: string,
  signal: AbortSignal,
): Promise<void> {
  const running = await readLocalNode(path);
  const own = directAddresses(members?.nodes.find(({ id }) => id === members.nodeId)?.addresses ?? []);
  const addresses = [...new Set([...(running === undefined ? [] : [running.bind]), ...own])];
  const options = { timeoutMs: ownAnswerMs, signal };
  const found = await Promise.all(
    addresses.map((address) => fetchPeerIdentity(address, options).catch(() => undefined)),
  );
  const at = addresses[found.indexOf(endpointId)];
  if (at === undefined) return;
  throw new BlixardError("DUPLICATE_NODE", `node ${nodeId} runs already, with the same key, at ${at}`, {
    hint: "Stop the other process. Two of them never share a data directory, a copy of one, or a node.key.",
  });
}

export interface PlanDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The key of this node. */
  readonly endpointId: string;
}

/** @throws TICKET_INVALID, WRONG_CLUSTER, PERMISSION_DENIED, UNREACHABLE, INVALID_ARGUMENT */
export async function planStart(
  joinWith: string | undefined,
  dataDir: DataDir,
  found: FoundData,
  deps: PlanDeps,
): Promise<StartPlan> {
  // The flags of a service file may name a ticket from long ago; the members are known better here.
  const knowsOthers = otherVoters(found).length > 0;
  if (found.recovery !== undefined && (knowsOthers || joinWith === undefined)) return rejoin(dataDir, found);
  if (dataDir.nodeFile !== undefined && found.recovery === undefined) {
    // The flags of a service file stay the same over restarts, so a join that was done is no error.
    if (joinWith !== undefined) await checkCluster(joinWith, dataDir.nodeFile.clusterId, deps.signal);
    return { type: "resume", ignoredJoin: joinWith !== undefined };
  }
  // A first start that was admitted, and ended before it took part.
  if (joinWith === undefined && knowsOthers) return rejoin(dataDir, found);
  if (joinWith === undefined) return { type: "bootstrap" };
  if (joinWith.startsWith(ticketPrefix)) {
    return { type: "join", target: targetOf(decodeTicket(joinWith), deps.endpointId), byAddress: undefined };
  }
  return { type: "join", target: await targetByAddress(joinWith, deps), byAddress: joinWith };
}

function targetOf(ticket: JoinTicket, endpointId: string): JoinTarget {
  const { clusterId, endpoints } = ticket;
  const show = (asked: string) => showTicket(ticket, { holder: endpointId, asked }, ticketCrypto);
  return { endpoints, clusterId, ticket: show };
}

/** After `blixard recover`: the others know the key, so no ticket is needed. */
function rejoin({ path, nodeFile }: DataDir, found: FoundData): StartPlan {
  const others = otherVoters(found);
  if (others.length === 0) {
    throw new BlixardError("INVALID_ARGUMENT", `${path} does not know the other voters any more`, {
      hint: "Name one of them: --join HOST:PORT, or --join-file with a new ticket.",
    });
  }
  const endpoints = others.map(({ endpointId, addresses }) => ({ endpointId, addresses }));
  const clusterId = nodeFile === undefined ? {} : { clusterId: nodeFile.clusterId };
  return { type: "join", target: { endpoints, ticket: null, ...clusterId }, byAddress: undefined };
}

/** Whoever lets this node in says who the members are, which it believes: no worker is asked for that. */
function otherVoters({ members }: FoundData) {
  return members?.nodes.filter(({ id, role }) => id !== members.nodeId && role === "voter") ?? [];
}

/** A ticket or an address, whose form is right; undefined without one. @throws INVALID_ARGUMENT, TICKET_INVALID */
export async function joinText(
  config: NodeConfig,
  { nodeFile }: DataDir,
  stdin: Readable,
): Promise<string | undefined> {
  const text = await givenJoinText(config, nodeFile !== undefined, stdin);
  if (text === undefined) return undefined;
  if (text.startsWith(ticketPrefix)) decodeTicket(text);
  else if (parseHostPort(text) === undefined) {
    throw new BlixardError("INVALID_ARGUMENT", "--join takes a ticket (blx1-...) or HOST:PORT", {
      hint: "Create a ticket on a member with: blixard ticket create",
    });
  }
  return text;
}

async function givenJoinText(config: NodeConfig, isMember: boolean, stdin: Readable): Promise<string | undefined> {
  if (config.joinFile === undefined) return config.join?.trim();
  if (config.joinFile === "-") return await readTicket(stdin);
  try {
    return (await readNamedFile(config.joinFile, ticketBytesMax)).trim();
  } catch (error) {
    // The flags of a service file stay the same over restarts; a ticket that was used is better deleted.
    if (isMember && systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw new BlixardError("INVALID_ARGUMENT", `--join-file ${config.joinFile}: ${reasonOf(error)}`, {
      cause: error,
      hint: "Give the path of a file with the ticket, or - for standard input.",
    });
  }
}

async function readTicket(stdin: Readable): Promise<string> {
  let text = "";
  for await (const piece of stdin) {
    text += String(piece);
    if (text.length > ticketBytesMax) throw new BlixardError("TICKET_INVALID", "standard input holds no ticket");
    if (text.includes("\n")) break;
  }
  if (text.trim() === "") {
    throw new BlixardError("TICKET_INVALID", "standard input holds no ticket", {
      hint: "Give the ticket on one line.",
    });
  }
  return text.trim();
}

/** Whoever says to join another cluster than the one of this directory means another directory. @throws WRONG_CLUSTER */
async function checkCluster(joinWith: string, ownClusterId: string, signal: AbortSignal): Promise<void> {
  const isTicket = joinWith.startsWith(ticketPrefix);
  const clusterId = isTicket ? decodeTicket(joinWith).clusterId : await clusterAt(joinWith, signal);
  if (clusterId === undefined || clusterId === ownClusterId) return;
  const what = isTicket ? "the ticket is for" : `${joinWith} is in`;
  throw new BlixardError("WRONG_CLUSTER", `this node is in cluster ${ownClusterId}, ${what} ${clusterId}`, {
    hint: "Start it without --join, or give it an empty --data-dir to join the other cluster.",
  });
}

/** Undefined when nobody answers there: a member starts again without them. */
async function clusterAt(address: string, signal: AbortSignal): Promise<string | undefined> {
  const client = connectClient({ addresses: [address], timeoutMs: clusterAnswerMs, unreachableMs: 0 });
  try {
    return (await client.identity({ signal })).clusterId;
  } catch {
    return undefined;
  } finally {
    client.close();
  }
}

/**
 * The key of the node at an address is learned from its certificate. Nobody can be between on loopback; elsewhere the
 * keys of both are shown to the people who decide.
 */
async function targetByAddress(address: string, deps: PlanDeps): Promise<JoinTarget> {
  const endMs = deps.clock.monotonicMs() + identityPatienceMs;
  for (;;) {
    try {
      const options = { timeoutMs: identityTimeoutMs, signal: deps.signal };
      return {
        endpoints: [{ endpointId: await fetchPeerIdentity(address, options), addresses: [address] }],
        ticket: null,
        localProof: (asked) => proveLocally(deps.env, asked, deps.endpointId),
      };
    } catch (error) {
      // The other node may be starting just now, too.
      const mayPass = ["UNREACHABLE", "DEADLINE_EXCEEDED"].includes(errorCodeOf(error) ?? "");
      if (!mayPass || deps.clock.monotonicMs() > endMs) throw error;
      await sleep(deps.clock, identityRetryMs, deps.signal);
    }
  }
}
