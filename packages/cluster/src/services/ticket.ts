/**
 * The join tickets. Their secrets leave this room once, inside the ticket; the state holds only public keys, with which a
 * node can check what a holder shows, and cannot show it itself.
 */

import { type BlixardError, bytesEqual, fromHex, fromUtf8, notApplied, toHex } from "@blixard/common";
import {
  encodeTicket,
  isAccessRole,
  isShownBy,
  type ParsedRequestOf,
  proofKeyOf,
  type ShownTicket,
  signedTicketsSince,
  type TicketRecord,
  type TicketRole,
} from "@blixard/protocol";
import type { CallScope, EntrySteps, Handlers } from "../calls/call-types.ts";
import { votersToAsk } from "../calls/misdirected.ts";
import { AskBudget } from "../calls/ticket-guard.ts";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { keysOf } from "../state-machine/node-key.ts";
import { nodeKey } from "../state-machine/state.ts";
import { type TicketBearer, ticketRefusal } from "../state-machine/ticket.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { pageOf } from "./page.ts";
import { assertMadeNow, refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type TicketParts = Pick<
  NodeParts,
  "clock" | "random" | "ticketCrypto" | "options" | "identity" | "stateMachine" | "proposals"
>;

/** What checking a ticket needs. */
export type TicketCheckParts = Pick<NodeParts, "stateMachine" | "ticketCrypto" | "identity">;

type TicketMethods = "ticket.create" | "ticket.list" | "ticket.revoke";

const ticketIdBytes = 6;
const secretBytes = 32;

export function ticketHandlers(parts: TicketParts): Pick<Handlers, TicketMethods> {
  return {
    "ticket.create": (request, call) => createTicket(parts, request, call),
    "ticket.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const views = [...state.tickets.values()].map(({ secretHash: _, proofKey: __, ...view }) => view);
      return pageOf(views, asked, { keyOf: ({ id }) => id, index: version.value.appliedIndex });
    },
    "ticket.revoke": async ({ id }, call) => {
      refuseIfMatch(call, "a ticket");
      assertMayInvite(call, parts.stateMachine.state.tickets.get(id)?.role ?? "viewer");
      const { index, term } = await parts.proposals.propose({ type: "ticket.revoke", ticketId: id }, call);
      return { index, term };
    },
  };
}

/**
 * What the node that is asked first looks at, so that others are not asked in vain: a ticket that its copy of the state knows
 * is good or not, whatever else strangers do. Only for one that it does not know it has to ask the leader, within a budget.
 * @throws TICKET_INVALID, UNAVAILABLE when this node is none that a ticket may be shown to, OVERLOADED
 */
export class TicketDesk {
  readonly #parts: TicketCheckParts & Pick<NodeParts, "transport" | "raft">;
  readonly #leaderAsks: AskBudget;

  constructor(parts: TicketCheckParts & Pick<NodeParts, "clock" | "transport" | "raft">) {
    this.#parts = parts;
    this.#leaderAsks = new AskBudget(parts.clock);
  }

  look(shown: ShownTicket, holder: string): void {
    const { stateMachine, transport, raft } = this.#parts;
    if ("asked" in shown && shown.asked !== transport.endpointId) {
      throw notKnown("this ticket was shown to another node");
    }
    if (stateMachine.state.tickets.has(shown.id)) ticketOf(this.#parts, shown, holder);
    else if (raft.status.value.role !== "StateLeader") this.#leaderAsks.take();
  }
}

export function redeemEntry(desk: TicketDesk): EntrySteps {
  return {
    "token.redeem": (request) => {
      desk.look(request.ticket, request.endpointId);
      return request;
    },
  };
}

/**
 * Finds the ticket that the key `holder` shows. `apply` decides whether it is still good.
 * @throws TICKET_INVALID, UNAVAILABLE when the node that it was shown to does not vote
 */
export function ticketOf(parts: TicketCheckParts, shown: ShownTicket, holder: string): TicketRecord {
  const { state } = parts.stateMachine;
  const ticket = state.tickets.get(shown.id);
  if (ticket === undefined || !isShown(parts, ticket, shown, holder)) throw notKnown("this ticket is not known here");
  if ("asked" in shown) assertVotes(state, shown.asked);
  return ticket;
}

function isShown(
  { ticketCrypto, identity }: TicketCheckParts,
  { secretHash, proofKey }: TicketRecord,
  shown: ShownTicket,
  holder: string,
): boolean {
  if ("signature" in shown) {
    const { clusterId } = identity();
    return proofKey !== undefined && isShownBy(shown, { clusterId, proofKey, holder }, ticketCrypto);
  }
  const secret = fromHex(shown.secret);
  if (secret === undefined || secretHash === undefined) return false;
  return bytesEqual(fromUtf8(secretHash), fromUtf8(toHex(ticketCrypto.sha256(secret))));
}

/**
 * Only a voter is asked with a ticket: what it passes on counts here, and the holder believes its answer. A node that was one
 * when the ticket was made may be none any more. @throws UNAVAILABLE
 */
function assertVotes({ nodes }: ClusterState, endpointId: string): void {
  for (const node of nodes.values()) if (keysOf(node).includes(endpointId) && node.role === "voter") return;
  throw notApplied("UNAVAILABLE", "the node that was asked does not vote", {
    hint: "Ask another node that the ticket names, or make a new ticket: blixard ticket create",
  });
}

/**
 * Refuses a ticket that is spent, before it costs an entry of the log. The key that used it may have lost the answer.
 * @throws TICKET_INVALID, TICKET_USED, TICKET_EXPIRED
 */
export function assertGood({ clock }: Pick<NodeParts, "clock">, ticket: TicketRecord, bearer: TicketBearer): void {
  if (ticket.usedBy === bearer.endpointId) return;
  const refused = ticketRefusal(ticket, bearer, clock.unixMs())?.result;
  if (refused === undefined || refused.ok) return;
  const { code, message, hint } = refused;
  throw notApplied(code, message, hint === undefined ? {} : { hint });
}

function notKnown(message: string): BlixardError {
  return notApplied("TICKET_INVALID", message, { hint: "Ask for another one: blixard ticket create" });
}

async function createTicket(parts: TicketParts, request: ParsedRequestOf<"ticket.create">, call: CallScope) {
  refuseIfMatch(call, "a ticket");
  assertMayInvite(call, request.role);
  if (request.accessTtlSeconds !== undefined && !isAccessRole(request.role)) {
    throw notApplied("INVALID_ARGUMENT", "accessTtlSeconds: is for the roles of people, and not for nodes");
  }
  const nowUnixMs = parts.clock.unixMs();
  const secret = parts.random.bytes(secretBytes);
  const shownBy = clusterLevel(parts.stateMachine.state) < signedTicketsSince ? "secret" : "signature";
  const ticket: TicketRecord = {
    id: toHex(parts.random.bytes(ticketIdBytes)),
    ...(shownBy === "secret"
      ? { secretHash: toHex(parts.ticketCrypto.sha256(secret)) }
      : { proofKey: proofKeyOf(secret, parts.ticketCrypto) }),
    role: request.role,
    nodeName: request.nodeName ?? null,
    createdUnixMs: nowUnixMs,
    expiresUnixMs: nowUnixMs + request.ttlSeconds * 1_000,
    usedBy: null,
    revoked: false,
    ...(request.accessTtlSeconds === undefined ? {} : { accessTtlSeconds: request.accessTtlSeconds }),
  };
  const body = { type: "ticket.create", ticket } as const;
  const { index, term, value } = await parts.proposals.propose<Pick<TicketRecord, "id">>(body, call);
  assertMadeNow(value.id, ticket.id, "ticket");
  const text = encodeTicket({
    clusterId: parts.identity().clusterId,
    ticketId: ticket.id,
    secret,
    shownBy,
    role: ticket.role,
    endpoints: endpointsToAsk(parts),
    expiresUnixMs: ticket.expiresUnixMs,
  });
  return { index, term, id: ticket.id, ticket: text, expiresUnixMs: ticket.expiresUnixMs };
}

/** An operator lets in who may read, and nobody else. @throws PERMISSION_DENIED */
function assertMayInvite({ meta }: CallScope, role: TicketRole): void {
  if (meta.access === "admin" || role === "viewer") return;
  throw notApplied("PERMISSION_DENIED", `a ticket for the role ${role} needs the access "admin"`, {
    hint: "An operator makes and revokes tickets for viewers only.",
  });
}

/** The voters, for a ticket: first this leader, at its present addresses, which its record may not hold yet. */
export function endpointsToAsk(parts: Pick<NodeParts, "stateMachine" | "options">) {
  const { state } = parts.stateMachine;
  const { nodeId, advertisedAddresses } = parts.options;
  const own = state.nodes.get(nodeKey(nodeId));
  const others = votersToAsk(state).filter(({ endpointId }) => endpointId !== own?.endpointId);
  return [
    ...(own === undefined ? [] : [{ endpointId: own.endpointId, addresses: [...advertisedAddresses()] }]),
    ...others,
  ].filter(({ addresses }) => addresses.length > 0);
}
