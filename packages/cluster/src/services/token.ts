/** Tokens: who may call without being a node, by a bearer token over HTTP or by a key over the RPC lane. */
import { bytesEqual, fromUtf8, notApplied, toHex } from "@blixard/common";
import {
  type AccessRole,
  isAccessRole,
  type ParsedRequestOf,
  type TicketRole,
  type TokenRecord,
} from "@blixard/protocol";
import type { AuthenticatedCaller, CallScope, ExitSteps, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { bearerOf, isGood, ownTokensLevel } from "../state-machine/token.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { pageOf } from "./page.ts";
import { assertMadeNow, refuseIfMatch, unremembered } from "./propose.ts";
import { assertGood, endpointsToAsk, ticketOf } from "./ticket.ts";

/** What these methods use of the node. */
type TokenParts = Pick<
  NodeParts,
  "clock" | "random" | "sha256" | "ticketCrypto" | "options" | "identity" | "stateMachine" | "proposals"
>;

type TokenMethods =
  | "token.create"
  | "token.list"
  | "token.revoke"
  | "token.redeem"
  | "token.rotate"
  | "token.narrow"
  | "token.own";

const tokenIdBytes = 6;
const tokenBytes = 32;

export function tokenHandlers(parts: TokenParts): Pick<Handlers, TokenMethods> {
  return {
    "token.create": (request, call) => createToken(parts, request, call),
    "token.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const views = [...state.tokens.values()].map(({ tokenHash: _, ...view }) => view);
      return pageOf(views, asked, { keyOf: ({ id }) => id, index: version.value.appliedIndex });
    },
    "token.revoke": async ({ id, lastAdmin }, call) => {
      refuseIfMatch(call, "a token");
      const body = { type: "token.revoke", tokenId: id, ...(lastAdmin ? { lastAdmin } : {}) } as const;
      const { index, term } = await parts.proposals.propose(body, call);
      return { index, term };
    },
    "token.rotate": (request, call) => rotateToken(parts, request, call),
    "token.narrow": async ({ id, role, lastAdmin }, call) => {
      refuseIfMatch(call, "a token");
      const body = { type: "token.change", tokenId: id, role, ...(lastAdmin ? { lastAdmin } : {}) } as const;
      const { index, term } = await parts.proposals.propose(body, call);
      return { index, term };
    },
    "token.redeem": (request, call) => redeem(parts, request, call),
    "token.own": async ({ nodeId, tokenHash }, call) => {
      assertSpeaksFor(call, nodeId);
      const { index, term } = await parts.proposals.propose({ type: "token.own", nodeId, tokenHash }, call);
      return { index, term };
    },
  };
}

/** A node that lags behind the leader says so late, and not never. */
const appliedWaitMs = 2_000;

/**
 * The leader has applied the token, and the node that passed the ticket on a moment later: without this, it would take the
 * key for a stranger's in the next call.
 */
export function tokenExit({ clock, stateMachine }: Pick<NodeParts, "clock" | "stateMachine">): ExitSteps {
  return {
    "token.redeem": async ({ id }, signal) => {
      const limit = { clock, delayMs: appliedWaitMs };
      await stateMachine.version.until(() => stateMachine.state.tokens.has(id), { signal, limit });
    },
  };
}

/** The holder of a bearer token; undefined when nobody holds it. */
export function tokenHolder(
  { tokens }: ClusterState,
  { sha256, clock }: Pick<NodeParts, "sha256" | "clock">,
  text: string,
): AuthenticatedCaller | undefined {
  const nowUnixMs = clock.unixMs();
  const hash = fromUtf8(toHex(sha256(fromUtf8(text))));
  let found: AuthenticatedCaller | undefined;
  // The loop looks at every token, so that its duration does not tell which one nearly matched.
  for (const token of tokens.values()) {
    if (!bytesEqual(hash, fromUtf8(token.tokenHash ?? "")) || !isGood(token, nowUnixMs)) continue;
    found = { actor: { kind: "token", id: token.id }, access: token.role };
  }
  return found;
}

async function createToken(
  parts: TokenParts,
  { role, name, ttlSeconds }: ParsedRequestOf<"token.create">,
  call: CallScope,
) {
  refuseIfMatch(call, "a token");
  const text = toHex(parts.random.bytes(tokenBytes));
  const nowUnixMs = parts.clock.unixMs();
  const token: TokenRecord = {
    id: toHex(parts.random.bytes(tokenIdBytes)),
    tokenHash: toHex(parts.sha256(fromUtf8(text))),
    ...(name === undefined ? {} : { name }),
    role,
    createdUnixMs: nowUnixMs,
    ...endOf(nowUnixMs, ttlSeconds),
  };
  const body = { type: "token.create", token, ticketId: null } as const;
  const { index, term, value } = await parts.proposals.propose<Pick<TokenRecord, "id">>(body, call);
  assertMadeNow(value.id, token.id, "token");
  return { index, term, id: token.id, token: text };
}

function endOf(nowUnixMs: number, ttlSeconds: number | undefined): Pick<TokenRecord, "expiresUnixMs"> {
  return ttlSeconds === undefined ? {} : { expiresUnixMs: nowUnixMs + ttlSeconds * 1_000 };
}

async function rotateToken(parts: TokenParts, { id }: ParsedRequestOf<"token.rotate">, call: CallScope) {
  refuseIfMatch(call, "a token");
  const isOwn = parts.stateMachine.state.tokens.get(id)?.node !== undefined;
  const text = toHex(parts.random.bytes(tokenBytes));
  const change = isOwn ? { renew: true as const } : { tokenHash: toHex(parts.sha256(fromUtf8(text))) };
  const body = { type: "token.change", tokenId: id, ...change } as const;
  // Not remembered: a repeated answer could not hold the text. Another new text takes the place of the first.
  const { index, term } = await parts.proposals.propose(body, unremembered(call));
  return { index, term, id, token: isOwn ? null : text };
}

/** Gives the rights of a ticket to the key that shows it. The same key may ask again. */
async function redeem(
  parts: TokenParts,
  { ticket: shown, endpointId, name }: ParsedRequestOf<"token.redeem">,
  call: CallScope,
) {
  if (call.meta.actor.id !== endpointId) {
    throw notApplied("PERMISSION_DENIED", "endpointId: is not the key of the connection that asks");
  }
  const ticket = ticketOf(parts, shown, endpointId);
  const calledName = ticket.nodeName ?? name;
  const nowUnixMs = parts.clock.unixMs();
  const token: TokenRecord = {
    id: toHex(parts.random.bytes(tokenIdBytes)),
    endpointId,
    ...(calledName === undefined ? {} : { name: calledName }),
    role: roleOf(parts, ticket.role),
    createdUnixMs: nowUnixMs,
    ...endOf(nowUnixMs, ticket.accessTtlSeconds),
    ...(knowsOwnTokens(parts) ? { ticketId: ticket.id } : {}),
  };
  assertGood(parts, ticket, bearerOf(token, ticket));
  const body = { type: "token.create", token, ticketId: ticket.id } as const;
  const { value } = await parts.proposals.propose<Pick<TokenRecord, "id" | "role">>(body, unremembered(call));
  return { clusterId: parts.identity().clusterId, id: value.id, role: value.role, nodes: endpointsToAsk(parts) };
}

const knowsOwnTokens = ({ stateMachine }: Pick<NodeParts, "stateMachine">): boolean =>
  clusterLevel(stateMachine.state) >= ownTokensLevel;

/** Members of before level 3 know two roles, and take an operator for an administrator. */
function roleOf(parts: TokenParts, role: TicketRole): AccessRole {
  if (!isAccessRole(role)) return "viewer";
  return role === "operator" && !knowsOwnTokens(parts) ? "admin" : role;
}
