/** Tokens: who may call without being a node, by a bearer token over HTTP or by a key over the RPC lane. */
import { bytesEqual, fromUtf8, notApplied, toHex } from "@blixard/common";
import type { ParsedRequestOf, TokenRecord } from "@blixard/protocol";
import type { AuthenticatedCaller, CallScope, ExitSteps, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch, unremembered } from "./propose.ts";
import { endpointsToAsk, ticketOf } from "./ticket.ts";

/** What these methods use of the node. */
type TokenParts = Pick<
  NodeParts,
  "clock" | "random" | "sha256" | "options" | "identity" | "stateMachine" | "proposals"
>;

type TokenMethods = "token.create" | "token.list" | "token.revoke" | "token.redeem";

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
    "token.revoke": async ({ id }, call) => {
      refuseIfMatch(call, "a token");
      const { index, term } = await parts.proposals.propose({ type: "token.revoke", tokenId: id }, call);
      return { index, term };
    },
    "token.redeem": (request, call) => redeem(parts, request, call),
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
  sha256: NodeParts["sha256"],
  text: string,
): AuthenticatedCaller | undefined {
  const hash = fromUtf8(toHex(sha256(fromUtf8(text))));
  let found: AuthenticatedCaller | undefined;
  // The loop looks at every token, so that its duration does not tell which one nearly matched.
  for (const { id, role, tokenHash } of tokens.values()) {
    if (!bytesEqual(hash, fromUtf8(tokenHash ?? ""))) continue;
    found = { actor: { kind: "token", id }, access: role };
  }
  return found;
}

async function createToken(parts: TokenParts, { role, name }: ParsedRequestOf<"token.create">, call: CallScope) {
  refuseIfMatch(call, "a token");
  const text = toHex(parts.random.bytes(tokenBytes));
  const token: TokenRecord = {
    id: toHex(parts.random.bytes(tokenIdBytes)),
    tokenHash: toHex(parts.sha256(fromUtf8(text))),
    ...(name === undefined ? {} : { name }),
    role,
    createdUnixMs: parts.clock.unixMs(),
  };
  // Not remembered: a repeated answer could not hold the text.
  const body = { type: "token.create", token, ticketId: null } as const;
  const { index, term } = await parts.proposals.propose(body, unremembered(call));
  return { index, term, id: token.id, token: text };
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
  const ticket = ticketOf(parts, shown);
  const calledName = ticket.nodeName ?? name;
  const token: TokenRecord = {
    id: toHex(parts.random.bytes(tokenIdBytes)),
    endpointId,
    ...(calledName === undefined ? {} : { name: calledName }),
    role: ticket.role === "operator" ? "admin" : "viewer",
    createdUnixMs: parts.clock.unixMs(),
  };
  const body = { type: "token.create", token, ticketId: ticket.id } as const;
  const { value } = await parts.proposals.propose<Pick<TokenRecord, "id" | "role">>(body, unremembered(call));
  return { clusterId: parts.identity().clusterId, id: value.id, role: value.role, nodes: endpointsToAsk(parts) };
}
