/** Commands of tokens: bearer tokens, and the keys of people that a ticket brought in. */
import { type CommandBodyOf, limits } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { tokenOfKey } from "./state.ts";
import { ticketRefusal } from "./ticket.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const tokenAppliers: AppliersOf<"token"> = {
  "token.create": applyCreate,
  "token.revoke": applyRevoke,
};

function applyCreate(state: ClusterState, body: CommandBodyOf<"token.create">, { command }: CommandEntry): Outcome {
  const { token, ticketId } = body;
  const { endpointId } = token;
  const ticket = ticketId === null ? undefined : state.tickets.get(ticketId);
  if (endpointId !== undefined) {
    const present = tokenOfKey(state, endpointId);
    // A machine that lost the answer asks again, with the ticket that it has used.
    if (present !== undefined && ticket?.usedBy === endpointId) return done({ id: present.id, role: present.role });
    if (present !== undefined) {
      return refuse(
        "ALREADY_EXISTS",
        `this key has access already, as ${present.id}`,
        "Add the context without a ticket.",
      );
    }
    for (const node of state.nodes.values()) {
      if (node.endpointId === endpointId) return refuse("CONFLICT", `this is the key of node ${node.id}`);
    }
  }
  if (state.tokens.has(token.id)) return refuse("ALREADY_EXISTS", `there is a token ${token.id} already`);
  if (state.tokens.size >= limits.tokensMax) {
    return refuse("CONFLICT", `there are ${limits.tokensMax} tokens`, "Revoke some: blixard token revoke ID");
  }
  const changes: Change[] = [];
  if (ticketId !== null) {
    const bearer = {
      endpointId: endpointId ?? "",
      role: token.role === "admin" ? "operator" : "viewer",
      name: token.name ?? "",
    } as const;
    const refused = ticketRefusal(ticket, bearer, command.atUnixMs);
    if (refused !== undefined) return refused;
    if (ticket !== undefined) {
      changes.push({ table: "tickets", key: ticketId, value: { ...ticket, usedBy: bearer.endpointId } });
    }
  }
  changes.push({ table: "tokens", key: token.id, value: token });
  return done({ id: token.id, role: token.role }, changes);
}

function applyRevoke(state: ClusterState, body: CommandBodyOf<"token.revoke">): Outcome {
  if (!state.tokens.has(body.tokenId)) {
    return refuse("TOKEN_NOT_FOUND", `there is no token ${body.tokenId}`, "List them with: blixard token list");
  }
  return done(null, [{ table: "tokens", key: body.tokenId, value: undefined }]);
}
