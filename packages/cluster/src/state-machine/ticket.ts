/** Commands of join tickets. */
import { type CommandBodyOf, isAccessRole, limits, type TicketRecord, type TicketRole } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { sortedRecords } from "./state.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const ticketAppliers: AppliersOf<"ticket"> = {
  "ticket.create": applyCreate,
  "ticket.revoke": applyRevoke,
};

const askForAnother = "Ask for another one: blixard ticket create";

/** Who shows a ticket: a node, or a person with a key. */
export interface TicketBearer {
  readonly endpointId: string;
  readonly role: TicketRole;
  readonly name: string;
}

/** Why `ticket` is not good for `bearer` at this time; undefined when it is. Its secret was compared before. */
export function ticketRefusal(
  ticket: TicketRecord | undefined,
  bearer: TicketBearer,
  atUnixMs: number,
): Outcome | undefined {
  if (ticket === undefined) return refuse("TICKET_INVALID", "this ticket is not known here", askForAnother);
  if (ticket.revoked) return refuse("TICKET_INVALID", "this ticket was revoked", askForAnother);
  if (ticket.usedBy !== null && ticket.usedBy !== bearer.endpointId) {
    return refuse("TICKET_USED", "this ticket has been used by another machine", askForAnother);
  }
  if (ticket.usedBy !== null) return refuse("TICKET_USED", "this ticket has been used before", askForAnother);
  if (ticket.expiresUnixMs <= atUnixMs) return refuse("TICKET_EXPIRED", "this ticket has expired", askForAnother);
  if (ticket.role !== bearer.role) {
    const person = isAccessRole(ticket.role);
    const article = /^[ao]/.test(ticket.role) ? "an" : "a";
    const use = person ? "blixard context add NAME TICKET" : "blixard node --id N --join-file FILE";
    return refuse("TICKET_INVALID", `this ticket is for ${article} ${ticket.role}`, `Use it with: ${use}`);
  }
  if (ticket.nodeName !== null && ticket.nodeName !== bearer.name) {
    return refuse("TICKET_INVALID", `this ticket is for the name ${ticket.nodeName}`, `Use it with that name.`);
  }
  return undefined;
}

function applyCreate(state: ClusterState, body: CommandBodyOf<"ticket.create">, { command }: CommandEntry): Outcome {
  if (state.tickets.has(body.ticket.id)) return refuse("ALREADY_EXISTS", `there is a ticket ${body.ticket.id} already`);
  const changes: Change[] = [];
  if (state.tickets.size >= limits.ticketsMax) {
    const spent = sortedRecords(state, "tickets").find(
      (ticket) => ticket.revoked || ticket.usedBy !== null || ticket.expiresUnixMs <= command.atUnixMs,
    );
    if (spent === undefined) {
      return refuse("CONFLICT", `there are ${limits.ticketsMax} open tickets`, "Revoke some: blixard ticket revoke ID");
    }
    changes.push({ table: "tickets", key: spent.id, value: undefined });
  }
  changes.push({ table: "tickets", key: body.ticket.id, value: body.ticket });
  return done({ id: body.ticket.id }, changes);
}

function applyRevoke(state: ClusterState, body: CommandBodyOf<"ticket.revoke">): Outcome {
  const ticket = state.tickets.get(body.ticketId);
  if (ticket === undefined)
    return refuse("TICKET_NOT_FOUND", `there is no ticket ${body.ticketId}`, "See: blixard ticket list");
  if (ticket.revoked) return done(null);
  return done(null, [{ table: "tickets", key: ticket.id, value: { ...ticket, revoked: true } }]);
}
