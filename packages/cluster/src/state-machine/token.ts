/** Commands of tokens: bearer tokens, those of the nodes among them, and the keys of people that a ticket brought in. */

import {
  type AccessRole,
  accessRoleSchema,
  type CommandBodyOf,
  limits,
  type TicketRecord,
  type TokenRecord,
} from "@blixard/protocol";
import { clusterLevel } from "./level.ts";
import { keysOf } from "./node-key.ts";
import { done, refuse, refuseBanned } from "./outcomes.ts";
import { nodeKey, sortedRecords, tokenOfKey } from "./state.ts";
import { type TicketBearer, ticketRefusal } from "./ticket.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const tokenAppliers: AppliersOf<"token"> = {
  "token.create": applyCreate,
  "token.revoke": applyRevoke,
  "token.change": applyChange,
  "token.own": applyOwn,
};

/** The level from which on the state knows the tokens of nodes, and asks before the last administrator goes. */
export const ownTokensLevel = 3;

/** Whether it opens anything at this time. */
export function isGood({ expiresUnixMs, revoked, tokenHash, endpointId }: TokenRecord, atUnixMs: number): boolean {
  return (
    !revoked &&
    (tokenHash !== undefined || endpointId !== undefined) &&
    (expiresUnixMs === undefined || atUnixMs < expiresUnixMs)
  );
}

export const ownTokenId = (nodeId: number): string => `node-${nodeId}`;

/** The node whose own token has this id by default. */
function ownTokenNode(tokenId: string): number | undefined {
  const digits = /^node-(\d{1,5})$/.exec(tokenId)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Whether anything happens in the name of this token. That of a voter may not be registered yet. */
export function isCurrent(state: ClusterState, tokenId: string, atUnixMs: number): boolean {
  const record = state.tokens.get(tokenId);
  if (record !== undefined) return isGood(record, atUnixMs);
  const nodeId = ownTokenNode(tokenId);
  return nodeId !== undefined && state.nodes.get(nodeKey(nodeId))?.role === "voter";
}

/** The record of the token in the data directory of a node. */
export function ownTokenOf({ tokens }: Pick<ClusterState, "tokens">, nodeId: number): TokenRecord | undefined {
  for (const token of tokens.values()) if (token.node === nodeId) return token;
  return undefined;
}

/** What ends with the membership of a node, or when it votes no more. */
export function withoutOwnToken(state: ClusterState, nodeId: number): Change[] {
  const own = ownTokenOf(state, nodeId);
  return own === undefined ? [] : [{ table: "tokens", key: own.id, value: undefined }];
}

/** Who shows the ticket that makes this token. Before level 3 a ticket for an operator gave all rights. */
export function bearerOf({ endpointId = "", role, name = "" }: TokenRecord, ticket?: TicketRecord): TicketBearer {
  return { endpointId, role: role === "admin" && ticket?.role === "operator" ? "operator" : role, name };
}

function applyCreate(state: ClusterState, body: CommandBodyOf<"token.create">, { command }: CommandEntry): Outcome {
  const { token, ticketId } = body;
  const { endpointId } = token;
  const ticket = ticketId === null ? undefined : state.tickets.get(ticketId);
  if (endpointId !== undefined) {
    if (state.banned.has(endpointId)) return refuseBanned();
    const known = tokenOfKey(state, endpointId);
    const present = known !== undefined && isGood(known, command.atUnixMs) ? known : undefined;
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
      if (keysOf(node).includes(endpointId)) return refuse("CONFLICT", `this is the key of node ${node.id}`);
    }
  }
  if (state.tokens.has(token.id)) return refuse("ALREADY_EXISTS", `there is a token ${token.id} already`);
  const changes = expired(state, command.atUnixMs);
  if (state.tokens.size - changes.length >= limits.tokensMax) {
    return refuse("CONFLICT", `there are ${limits.tokensMax} tokens`, "Revoke some: blixard token revoke ID");
  }
  if (ticketId !== null) {
    const bearer = bearerOf(token, ticket);
    const refused = ticketRefusal(ticket, bearer, command.atUnixMs);
    if (refused !== undefined) return refused;
    if (ticket !== undefined) {
      changes.push({ table: "tickets", key: ticketId, value: { ...ticket, usedBy: bearer.endpointId } });
    }
  }
  changes.push({ table: "tokens", key: token.id, value: token });
  return done({ id: token.id, role: token.role }, changes);
}

/** Those that are good for nothing any more make room. Below level 3 none expires. */
function expired(state: ClusterState, atUnixMs: number): Change[] {
  return sortedRecords(state, "tokens")
    .filter(({ expiresUnixMs }) => expiresUnixMs !== undefined && expiresUnixMs <= atUnixMs)
    .map(({ id }) => ({ table: "tokens", key: id, value: undefined }));
}

function applyRevoke(
  state: ClusterState,
  { tokenId, lastAdmin }: CommandBodyOf<"token.revoke">,
  { command }: CommandEntry,
): Outcome {
  const token = state.tokens.get(tokenId);
  if (token === undefined) return notFound(tokenId);
  if (!lastAdmin && isLastAdmin(state, token, command.atUnixMs)) return lastOne(tokenId);
  // The node would make itself another one if nothing said that somebody took it away.
  const value: TokenRecord | undefined = token.node === undefined ? undefined : { ...token, revoked: true };
  return done(null, [{ table: "tokens", key: tokenId, value }]);
}

function applyChange(
  state: ClusterState,
  { tokenId, tokenHash, role, renew, lastAdmin }: CommandBodyOf<"token.change">,
  { command }: CommandEntry,
): Outcome {
  const token = state.tokens.get(tokenId);
  if (token === undefined) return notFound(tokenId);
  const { tokenHash: before, revoked: _, ...kept } = token;
  const isOwn = token.node !== undefined;
  if (renew !== undefined && !isOwn) return refuse("CONFLICT", `${tokenId} is no token of a node`);
  if (tokenHash !== undefined && (isOwn || before === undefined)) {
    const what = isOwn ? "the token of a node, whose text the node makes" : "a key, which has no text";
    return refuse("CONFLICT", `${tokenId} is ${what}`);
  }
  if (role !== undefined) {
    const rights: readonly AccessRole[] = accessRoleSchema.options;
    if (isOwn) return refuse("CONFLICT", `${tokenId} is the token of node ${token.node}: revoke it instead`);
    if (rights.indexOf(role) > rights.indexOf(token.role)) {
      return refuse("CONFLICT", `${tokenId} has the role ${token.role}: it gets no more rights`, "Make another one.");
    }
    if (role !== "admin" && !lastAdmin && isLastAdmin(state, token, command.atUnixMs)) return lastOne(tokenId);
  }
  const hash = renew ? undefined : (tokenHash ?? before);
  const value: TokenRecord = {
    ...kept,
    ...(hash === undefined ? {} : { tokenHash: hash }),
    ...(role === undefined ? {} : { role }),
  };
  return done(null, [{ table: "tokens", key: tokenId, value }]);
}

/** The voter itself says so, and the service lets nobody else. */
function applyOwn(
  state: ClusterState,
  { nodeId, tokenHash }: CommandBodyOf<"token.own">,
  { command }: CommandEntry,
): Outcome {
  const node = state.nodes.get(nodeKey(nodeId));
  if (node?.role !== "voter" || node.leaving) return refuse("CONFLICT", `node ${nodeId} is no voter`);
  const own = ownTokenOf(state, nodeId);
  if (own?.tokenHash === tokenHash) {
    return own.revoked ? refuse("CONFLICT", `the token of node ${nodeId} was revoked`) : done(null);
  }
  // The first administrator's token is that of the first node; before level 3 it did not say so.
  const same = sortedRecords(state, "tokens").find((token) => token.tokenHash === tokenHash);
  if (same !== undefined && (same.node !== undefined || own !== undefined)) {
    return refuse("CONFLICT", `this is the text of the token ${same.id} already`);
  }
  const { revoked: _, ...kept } = own ?? { ...same, id: same?.id ?? ownTokenId(nodeId) };
  const value: TokenRecord = {
    createdUnixMs: command.atUnixMs,
    ...kept,
    role: "admin",
    tokenHash,
    node: nodeId,
  };
  return done(null, [{ table: "tokens", key: value.id, value }]);
}

/** Whether nobody else may do everything. */
function isLastAdmin(state: ClusterState, token: TokenRecord, atUnixMs: number): boolean {
  if (clusterLevel(state) < ownTokensLevel || token.role !== "admin" || !isGood(token, atUnixMs)) return false;
  for (const other of state.tokens.values()) {
    if (other.id !== token.id && other.role === "admin" && isGood(other, atUnixMs)) return false;
  }
  return true;
}

function lastOne(tokenId: string): Outcome {
  return refuse(
    "CONFLICT",
    `${tokenId} is the last administrator: nobody could change tokens or members any more`,
    "Make another one first, or say that you mean it: --last-admin. The way back is: blixard recover --admin-token",
  );
}

function notFound(tokenId: string): Outcome {
  return refuse("TOKEN_NOT_FOUND", `there is no token ${tokenId}`, "List them with: blixard token list");
}
