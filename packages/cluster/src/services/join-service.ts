/** Admits a node: the ticket is judged here and used up by `apply`, in the step that binds node id and key. */
import { BlixardError, bytesEqual, fromUtf8 } from "@blixard/common";
import type { MemberRole, NodeRecord, ParsedRequestOf, TicketRecord } from "@blixard/protocol";
import { sortedRecords } from "../state-machine/state.ts";
import type { Handlers } from "./handlers.ts";
import { propose, type ServiceCallScope, type ServiceContext, unremembered } from "./service-context.ts";
import { hashSecret } from "./ticket-service.ts";

type JoinRequest = ParsedRequestOf<"join.request">;
interface Admission {
  readonly nodeId: number;
  readonly role: MemberRole;
  readonly incarnation: number;
}

export function joinHandlers(context: ServiceContext): Pick<Handlers, "join.request"> {
  return { "join.request": (request, call) => join(context, request, call) };
}

async function join(context: ServiceContext, request: JoinRequest, call: ServiceCallScope) {
  if (call.meta.actor.id !== request.endpointId) {
    throw denied("PERMISSION_DENIED", "endpointId: is not the key of the connection that asks");
  }
  const ticket = request.ticket === null ? undefined : ticketOf(context, request.ticket);
  if (ticket === undefined) assertJoinsWithoutTicket(context, request.addresses);
  const node: NodeRecord = {
    id: request.nodeId,
    name: request.nodeName ?? ticket?.nodeName ?? `n${request.nodeId}`,
    endpointId: request.endpointId,
    addresses: request.addresses,
    role: ticket?.role ?? "voter",
    incarnation: 1,
    capacity: request.capacity,
    version: request.version,
    featureLevel: request.featureLevel,
    joinedUnixMs: context.clock.unixMs(),
    cordoned: false,
  };
  const body = { type: "node.admit", node, ticketId: ticket?.id ?? null } as const;
  // Asking again is harmless: `apply` knows a machine that it has admitted.
  const { value } = await propose<Admission>(context, body, unremembered(call));
  return {
    clusterId: context.identity().clusterId,
    role: value.role,
    incarnation: value.incarnation,
    nodes: sortedRecords(context.stateMachine.state, "nodes"),
  };
}

function ticketOf(context: ServiceContext, shown: { readonly id: string; readonly secret: string }): TicketRecord {
  const ticket = context.stateMachine.state.tickets.get(shown.id);
  const hash = hashSecret(context, shown.secret);
  if (ticket !== undefined && hash !== undefined && bytesEqual(fromUtf8(ticket.secretHash), fromUtf8(hash))) {
    return ticket;
  }
  throw denied("TICKET_INVALID", "this ticket is not known here", "Ask for another one: blixard ticket create");
}

/** What the join policy says to a machine that has only an address. @throws PERMISSION_DENIED */
export function assertJoinsWithoutTicket(
  context: Pick<ServiceContext, "options" | "transport">,
  joinerAddresses: readonly string[],
): void {
  const { joinPolicy } = context.options;
  const local = [...joinerAddresses, ...context.transport.addresses()].every(isLoopback);
  if (joinPolicy === "loopback" && local && joinerAddresses.length > 0) return;
  const why = joinPolicy === "loopback" ? "only loopback addresses may join without a ticket" : "a ticket is needed";
  throw denied("PERMISSION_DENIED", why, "Create one on a member with: blixard ticket create");
}

export function isLoopback(address: string): boolean {
  const host = address.slice(0, address.lastIndexOf(":"));
  return host === "localhost" || host === "[::1]" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function denied(code: "TICKET_INVALID" | "PERMISSION_DENIED", message: string, hint?: string): BlixardError {
  return new BlixardError(code, message, { outcome: "not_applied", ...(hint === undefined ? {} : { hint }) });
}
