/** The join tickets. Their secrets leave this room once, inside the ticket; the state holds only hashes. */
import { BlixardError, bytesEqual, fromHex, fromUtf8, toHex } from "@blixard/common";
import { encodeTicket, type ParsedRequestOf, type TicketRecord } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { propose } from "./propose.ts";
import { refuseIfMatch, type ServiceContext, unremembered } from "./service-context.ts";

type TicketMethods = "ticket.create" | "ticket.list" | "ticket.revoke";

const ticketIdBytes = 6;
const secretBytes = 32;

export function ticketHandlers(context: ServiceContext): Pick<Handlers, TicketMethods> {
  return {
    "ticket.create": (request, call) => createTicket(context, request, call),
    "ticket.list": async () => ({
      items: sortedRecords(context.stateMachine.state, "tickets").map(({ secretHash: _, ...view }) => view),
    }),
    "ticket.revoke": async ({ id }, call) => {
      refuseIfMatch(call, "a ticket");
      const { index, term } = await propose(context, { type: "ticket.revoke", ticketId: id }, call);
      return { index, term };
    },
  };
}

/** The ticket whose id and secret, in hexadecimal, somebody shows. Whether it still is good `apply` decides. */
export function ticketOf(
  context: Pick<ServiceContext, "stateMachine" | "sha256">,
  shown: { readonly id: string; readonly secret: string },
): TicketRecord {
  const ticket = context.stateMachine.state.tickets.get(shown.id);
  const secret = fromHex(shown.secret);
  const hash = secret === undefined ? "" : toHex(context.sha256(secret));
  if (ticket !== undefined && bytesEqual(fromUtf8(ticket.secretHash), fromUtf8(hash))) return ticket;
  throw new BlixardError("TICKET_INVALID", "this ticket is not known here", {
    outcome: "not_applied",
    hint: "Ask for another one: blixard ticket create",
  });
}

async function createTicket(context: ServiceContext, request: ParsedRequestOf<"ticket.create">, call: CallScope) {
  refuseIfMatch(call, "a ticket");
  const nowUnixMs = context.clock.unixMs();
  const secret = context.random.bytes(secretBytes);
  const ticket: TicketRecord = {
    id: toHex(context.random.bytes(ticketIdBytes)),
    secretHash: toHex(context.sha256(secret)),
    role: request.role,
    nodeName: request.nodeName ?? null,
    createdUnixMs: nowUnixMs,
    expiresUnixMs: nowUnixMs + request.ttlSeconds * 1_000,
    usedBy: null,
    revoked: false,
  };
  // Not remembered: a repeated answer could not hold the secret. A retry makes a second ticket, and the first expires.
  const { index, term } = await propose(context, { type: "ticket.create", ticket }, unremembered(call));
  const text = encodeTicket({
    clusterId: context.identity().clusterId,
    ticketId: ticket.id,
    secret,
    role: ticket.role,
    endpoints: endpointsToAsk(context),
    expiresUnixMs: ticket.expiresUnixMs,
  });
  return { index, term, id: ticket.id, ticket: text, expiresUnixMs: ticket.expiresUnixMs };
}

/** This leader first, because the others would forward to it; where it is now, which its record may not say yet. */
export function endpointsToAsk(context: Pick<ServiceContext, "stateMachine" | "options">) {
  const { state } = context.stateMachine;
  const { nodeId, advertisedAddresses } = context.options;
  const own = state.nodes.get(nodeKey(nodeId));
  const others = sortedRecords(state, "nodes").filter((node) => node.id !== own?.id);
  return [...(own === undefined ? [] : [{ ...own, addresses: [...advertisedAddresses()] }]), ...others]
    .filter((node) => node.addresses.length > 0)
    .map(({ endpointId, addresses }) => ({ endpointId, addresses }));
}
