/** Commands of join tickets. */
import { type CommandBody, limits, type NodeRecord, type TicketRecord } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { sortedRecords } from "./state.ts";
import type { Change, ClusterState, Outcome } from "./types.ts";

type Body<Type extends CommandBody["type"]> = Extract<CommandBody, { readonly type: Type }>;

const askForAnother = "Ask for another one: blixard ticket create";

/** Why `ticket` does not admit `node` at this time; undefined when it does. Its secret was compared before. */
export function ticketRefusal(
  ticket: TicketRecord | undefined,
  node: Pick<NodeRecord, "endpointId" | "role" | "name">,
  atUnixMs: number,
): Outcome | undefined {
  if (ticket === undefined) return refuse("TICKET_INVALID", "this ticket is not known here", askForAnother);
  if (ticket.revoked) return refuse("TICKET_INVALID", "this ticket was revoked", askForAnother);
  if (ticket.usedBy !== null && ticket.usedBy !== node.endpointId) {
    return refuse("TICKET_USED", "this ticket has been used by another node", askForAnother);
  }
  if (ticket.usedBy !== null) return refuse("TICKET_USED", "this ticket has been used before", askForAnother);
  if (ticket.expiresUnixMs <= atUnixMs) return refuse("TICKET_EXPIRED", "this ticket has expired", askForAnother);
  if (ticket.role !== node.role) return refuse("TICKET_INVALID", `this ticket is for a ${ticket.role}`);
  if (ticket.nodeName !== null && ticket.nodeName !== node.name) {
    return refuse("TICKET_INVALID", `this ticket is for the node ${ticket.nodeName}`, `Join with that name.`);
  }
  return undefined;
}

export function applyTicketCreate(state: ClusterState, body: Body<"ticket.create">, atUnixMs: number): Outcome {
  if (state.tickets.has(body.ticket.id)) return refuse("ALREADY_EXISTS", `there is a ticket ${body.ticket.id} already`);
  const changes: Change[] = [];
  if (state.tickets.size >= limits.ticketsMax) {
    const spent = sortedRecords(state, "tickets").find(
      (ticket) => ticket.revoked || ticket.usedBy !== null || ticket.expiresUnixMs <= atUnixMs,
    );
    if (spent === undefined) {
      return refuse("CONFLICT", `there are ${limits.ticketsMax} open tickets`, "Revoke some: blixard ticket revoke ID");
    }
    changes.push({ table: "tickets", key: spent.id, value: undefined });
  }
  changes.push({ table: "tickets", key: body.ticket.id, value: body.ticket });
  return done({ id: body.ticket.id }, changes);
}

export function applyTicketRevoke(state: ClusterState, body: Body<"ticket.revoke">): Outcome {
  const ticket = state.tickets.get(body.ticketId);
  if (ticket === undefined) return refuse("TICKET_NOT_FOUND", `there is no ticket ${body.ticketId}`);
  if (ticket.revoked) return done(null);
  return done(null, [{ table: "tickets", key: ticket.id, value: { ...ticket, revoked: true } }]);
}
