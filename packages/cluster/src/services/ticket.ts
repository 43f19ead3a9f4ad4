/** The join tickets. Their secrets leave this room once, inside the ticket; the state holds only hashes. */
import { bytesEqual, fromHex, fromUtf8, notApplied, toHex } from "@blixard/common";
import {
  encodeTicket,
  isAccessRole,
  type ParsedRequestOf,
  type TicketRecord,
  type TicketRole,
} from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { votersToAsk } from "../calls/misdirected.ts";
import type { NodeParts } from "../node-parts.ts";
import { nodeKey } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";
import { assertMadeNow, refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type TicketParts = Pick<
  NodeParts,
  "clock" | "random" | "sha256" | "options" | "identity" | "stateMachine" | "proposals"
>;

type TicketMethods = "ticket.create" | "ticket.list" | "ticket.revoke";

const ticketIdBytes = 6;
const secretBytes = 32;

export function ticketHandlers(parts: TicketParts): Pick<Handlers, TicketMethods> {
  return {
    "ticket.create": (request, call) => createTicket(parts, request, call),
    "ticket.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const views = [...state.tickets.values()].map(({ secretHash: _, ...view }) => view);
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

/** Finds the ticket that a caller shows by id and secret, in hexadecimal. `apply` decides whether it is still good. */
export function ticketOf(
  parts: Pick<NodeParts, "stateMachine" | "sha256">,
  shown: { readonly id: string; readonly secret: string },
): TicketRecord {
  const ticket = parts.stateMachine.state.tickets.get(shown.id);
  const secret = fromHex(shown.secret);
  const hash = secret === undefined ? "" : toHex(parts.sha256(secret));
  if (ticket !== undefined && bytesEqual(fromUtf8(ticket.secretHash), fromUtf8(hash))) return ticket;
  throw notApplied("TICKET_INVALID", "this ticket is not known here", {
    hint: "Ask for another one: blixard ticket create",
  });
}

async function createTicket(parts: TicketParts, request: ParsedRequestOf<"ticket.create">, call: CallScope) {
  refuseIfMatch(call, "a ticket");
  assertMayInvite(call, request.role);
  if (request.accessTtlSeconds !== undefined && !isAccessRole(request.role)) {
    throw notApplied("INVALID_ARGUMENT", "accessTtlSeconds: is for the roles of people, and not for nodes");
  }
  const nowUnixMs = parts.clock.unixMs();
  const secret = parts.random.bytes(secretBytes);
  const ticket: TicketRecord = {
    id: toHex(parts.random.bytes(ticketIdBytes)),
    secretHash: toHex(parts.sha256(secret)),
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
