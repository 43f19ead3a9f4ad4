/** Admits a node: the ticket is checked here and used up by `apply`, in the step that binds node id and key. */

import { BlixardError, hostOf, isLoopbackHost, notApplied, sleep } from "@blixard/common";
import {
  isAccessRole,
  type MemberRole,
  type NodeRecord,
  type ParsedRequestOf,
  provedJoinsSince,
  type TicketRole,
} from "@blixard/protocol";
import type { CallScope, EntrySteps, Handlers } from "../calls/call-types.ts";
import { joinLimits } from "../join-limits.ts";
import type { NodeParts } from "../node-parts.ts";
import { isRunningElsewhere } from "../peers/peer-promises.ts";
import { clusterLevel, joinerRefusal } from "../state-machine/level.ts";
import { keysOf } from "../state-machine/node-key.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";
import { type JoinRequest, PendingJoins } from "./pending-joins.ts";
import { refuseIfMatch, unremembered } from "./propose.ts";
import { assertGood, type TicketDesk, ticketOf } from "./ticket.ts";

/** What these methods use of the node. */
type Parts = Pick<
  NodeParts,
  | "clock"
  | "logger"
  | "metrics"
  | "ticketCrypto"
  | "options"
  | "identity"
  | "raft"
  | "transport"
  | "stateMachine"
  | "proposals"
>;

interface JoinParts extends Parts {
  readonly pendingJoins: PendingJoins;
}

interface Admission {
  readonly nodeId: number;
  readonly role: MemberRole;
  readonly incarnation: number;
}

const { runningPollMs, runningWaitMs } = joinLimits;

export function joinHandlers(node: Parts): Pick<Handlers, "join.request" | "join.list" | "join.accept"> {
  const parts: JoinParts = { ...node, pendingJoins: new PendingJoins(node.clock, node.metrics) };
  return {
    "join.request": (request, call) => join(parts, request, call),
    "join.list": async (asked) => pageOf(parts.pendingJoins.list(), asked, { keyOf: ({ endpointId }) => endpointId }),
    "join.accept": (request, call) => accept(parts, request, call),
  };
}

/**
 * Notes in a request without a ticket whether the machine has proved that it is of this node's user on this host, or that an
 * operator has to accept it. Only the node that was asked first can know, and what the request itself says of it is dropped.
 */
export function joinEntry(
  parts: Pick<NodeParts, "options" | "transport" | "stateMachine" | "localJoins">,
  desk: TicketDesk,
): EntrySteps {
  return {
    "join.request": ({ local: _, localProof, ...request }, endpointId) => {
      if (isKnownMember(parts, request.nodeId, endpointId)) return request;
      if (request.ticket !== null) {
        desk.look(request.ticket, request.endpointId);
        return request;
      }
      refuseWithoutTicket(parts);
      return isLocal(parts, request, localProof) ? { ...request, local: true } : { ...request, approval: true };
    },
  };
}

/** @throws UNAVAILABLE when the machine has to read the secret once more */
function isLocal(
  parts: Pick<NodeParts, "options" | "transport" | "stateMachine" | "localJoins">,
  request: Pick<JoinRequest, "endpointId" | "addresses">,
  proof: string | undefined,
): boolean {
  const { options, stateMachine, localJoins } = parts;
  if (options.joinPolicy !== "loopback" || !isOnLoopback(parts, request)) return false;
  // A leader of an earlier release would refuse the field, and take every loopback address for a proof.
  if (clusterLevel(stateMachine.state) < provedJoinsSince) return false;
  const { endpointId } = request;
  switch (localJoins.check({ endpointId, proof })) {
    case "proved":
      return true;
    case "unproved":
      return false;
    default:
      throw notApplied("UNAVAILABLE", "the secret for joining on this machine has just changed", {
        hint: "Read it again: the machine that joins does so by itself.",
      });
  }
}

async function join(parts: JoinParts, request: JoinRequest, call: CallScope) {
  if (call.meta.actor.id !== request.endpointId) {
    throw denied("endpointId: is not the key of the connection that asks");
  }
  const known = isKnownMember(parts, request.nodeId, request.endpointId);
  const ticket = known || request.ticket === null ? undefined : ticketOf(parts, request.ticket, request.endpointId);
  if (ticket === undefined && !known) assertNotRemoved(parts, request.endpointId);
  assertUnderstandsCluster(parts, request);
  if (ticket === undefined && !known && needsApproval(parts, request)) {
    assertIdIsFree(parts, request.nodeId);
    throw pendingOf(parts, request);
  }
  if (known) await assertRunsOnce(parts, request, call.signal);
  const role = memberRoleOf(ticket?.role ?? "voter");
  const node = recordOf(request, request.nodeName ?? ticket?.nodeName ?? undefined, role, parts.clock.unixMs());
  if (ticket !== undefined) assertGood(parts, ticket, node);
  const body = { type: "node.admit", node, ticketId: ticket?.id ?? null } as const;
  // A machine may ask again: `apply` recognises one that it has admitted.
  const { value } = await parts.proposals.propose<Admission>(body, unremembered(call));
  await untilOutOfConfiguration(parts, request.nodeId, call.signal);
  return {
    clusterId: parts.identity().clusterId,
    role: value.role,
    incarnation: value.incarnation,
    nodes: sortedRecords(parts.stateMachine.state, "nodes"),
    admission: lastApplied(parts),
  };
}

/** The last applied entry. It has this term, because a ready leader has applied one of its own term. @throws NOT_LEADER */
function lastApplied({ raft, stateMachine }: Pick<NodeParts, "raft" | "stateMachine">) {
  const { ready, term, leaderId } = raft.status.value;
  if (ready) return { index: stateMachine.version.value.appliedIndex, term };
  throw new BlixardError("NOT_LEADER", "this node leads no more", { outcome: "unknown", details: { leaderId } });
}

/** Admits a machine that waits. The machine gets the answer when it asks again. */
async function accept(parts: JoinParts, { endpointId, role }: ParsedRequestOf<"join.accept">, call: CallScope) {
  refuseIfMatch(call, "a request to join");
  const request = parts.pendingJoins.get(endpointId);
  if (request === undefined) {
    throw notApplied("NOT_FOUND", "no machine with this key waits to join", {
      hint: "It must be running and asking. List those that do with: blixard cluster add",
    });
  }
  const node = recordOf(request, request.nodeName, role, parts.clock.unixMs());
  const { index, term } = await parts.proposals.propose({ type: "node.admit", node, ticketId: null }, call);
  parts.pendingJoins.delete(endpointId);
  return { index, term, nodeId: node.id };
}

function recordOf(request: JoinRequest, name: string | undefined, role: MemberRole, joinedUnixMs: number): NodeRecord {
  return {
    id: request.nodeId,
    name: name ?? `n${request.nodeId}`,
    endpointId: request.endpointId,
    addresses: request.addresses,
    role,
    incarnation: 1,
    capacity: request.capacity,
    version: request.version,
    featureLevel: request.featureLevel,
    joinedUnixMs,
    cordoned: false,
    ...(request.storeId === undefined ? {} : { storeId: request.storeId }),
    ...(request.starts === undefined ? {} : { starts: request.starts }),
  };
}

/** `apply` checks this too. Here it spares a machine a wait for an operator in vain. @throws NEEDS_UPGRADE */
function assertUnderstandsCluster({ stateMachine }: Pick<NodeParts, "stateMachine">, request: JoinRequest): void {
  const { nodeId: id, version, featureLevel } = request;
  const below = joinerRefusal(stateMachine.state, { id, version, featureLevel });
  if (below !== undefined) throw notApplied("NEEDS_UPGRADE", below.message, { hint: below.hint });
}

/** A machine that was removed needs a ticket to come back, wherever its request comes from. @throws REMOVED */
function assertNotRemoved({ stateMachine }: Pick<NodeParts, "stateMachine">, endpointId: string): void {
  for (const removed of stateMachine.state.removed.values()) {
    if (removed.endpointId !== endpointId) continue;
    throw notApplied("REMOVED", "this node was removed from the cluster", {
      hint: "Join again with a new ticket and an empty data directory.",
    });
  }
}

/** Refuses a request that an operator could not accept, before it waits for one. @throws DUPLICATE_NODE */
function assertIdIsFree({ stateMachine }: Pick<NodeParts, "stateMachine">, nodeId: number): void {
  if (!stateMachine.state.nodes.has(nodeKey(nodeId))) return;
  throw notApplied("DUPLICATE_NODE", `node ${nodeId} is another machine already`, {
    hint: "Choose another id with --id.",
  });
}

function pendingOf(
  { pendingJoins, logger }: Pick<JoinParts, "pendingJoins" | "logger">,
  request: JoinRequest,
): BlixardError {
  const { endpointId, nodeId } = request;
  if (pendingJoins.ask(request)) {
    logger.log("warn", "a machine asks to join without a ticket; accept it with: blixard cluster add", {
      nodeId,
      endpointId,
      addresses: request.addresses,
    });
  }
  return notApplied("JOIN_PENDING", `node ${nodeId} waits until an operator accepts it`, {
    hint: `On a member: blixard cluster add ${endpointId}`,
  });
}

/** @throws TICKET_INVALID */
function memberRoleOf(role: TicketRole): MemberRole {
  if (!isAccessRole(role)) return role;
  throw notApplied("TICKET_INVALID", `this ticket gives a person the rights of ${role}, and makes no node`, {
    hint: "Use it with `blixard context add NAME TICKET`; ask for another one for a node: blixard ticket create",
  });
}

/** True for a machine that is a member already. Its key proves that, so it needs no ticket to come back. */
function isKnownMember({ stateMachine }: Pick<NodeParts, "stateMachine">, nodeId: number, endpointId: string): boolean {
  const node = stateMachine.state.nodes.get(nodeKey(nodeId));
  return node !== undefined && keysOf(node).includes(endpointId);
}

/** Refuses a second machine with a copy of the key, which would push out the first one. @throws DUPLICATE_NODE */
async function assertRunsOnce(parts: JoinParts, request: JoinRequest, signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += runningPollMs) {
    if (!isRunningElsewhere(parts.transport, request.nodeId, request.instance)) return;
    // A process that was killed a moment ago still looks alive.
    if (waitedMs >= runningWaitMs) {
      throw notApplied("DUPLICATE_NODE", `node ${request.nodeId} runs already, with the same key`, {
        hint: "Stop the other process first. Two machines never share a data directory or a node.key.",
      });
    }
    await sleep(parts.clock, runningPollMs, signal);
  }
}

/** Waits until the old incarnation is no voter any more: nothing may answer in its name while others count its vote. */
async function untilOutOfConfiguration(parts: JoinParts, nodeId: number, signal: AbortSignal): Promise<void> {
  const { version } = parts.stateMachine;
  const waits = () => parts.stateMachine.state.nodes.get(nodeKey(nodeId))?.rejoining === true;
  await version.until(() => !waits(), { signal });
}

/**
 * Whether an operator has to accept a machine that shows no ticket: by the join policy of this node, or unless the node that
 * was asked says that it has proved where it runs. @throws PERMISSION_DENIED when nobody joins without a ticket
 */
function needsApproval(parts: Pick<NodeParts, "options" | "transport">, request: JoinRequest): boolean {
  refuseWithoutTicket(parts);
  if (request.approval === true || request.local !== true) return true;
  return parts.options.joinPolicy === "approve" || !isOnLoopback(parts, request);
}

/** @throws PERMISSION_DENIED */
function refuseWithoutTicket({ options }: Pick<NodeParts, "options">): void {
  if (options.joinPolicy === "ticket") {
    throw denied("a ticket is needed", "Create one on a member with: blixard ticket create");
  }
}

/** What does not serve on loopback only is for other machines, whoever asks. */
function isOnLoopback({ transport }: Pick<NodeParts, "transport">, { addresses }: Pick<JoinRequest, "addresses">) {
  const all = [...addresses, ...transport.addresses()];
  return addresses.length > 0 && all.every((address) => isLoopbackHost(hostOf(address)));
}

function denied(message: string, hint?: string): BlixardError {
  return notApplied("PERMISSION_DENIED", message, {
    ...(hint === undefined ? {} : { hint }),
  });
}
