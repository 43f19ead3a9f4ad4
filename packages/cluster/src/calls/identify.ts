/** Finds out who calls. The key of the connection decides, not what the call says about itself. */

import { type BlixardError, type Clock, notApplied } from "@blixard/common";
import {
  type Actor,
  type CallerAccess,
  type CallMeta,
  decodeServiceCall,
  forwardRpcMethod,
  type MethodAccess,
} from "@blixard/protocol";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { ClusterMetrics } from "../metrics.ts";
import type { IncomingCall } from "../ports/cluster-transport.ts";
import { keysOf } from "../state-machine/node-key.ts";
import { bannedWords } from "../state-machine/outcomes.ts";
import { nodeKey, tokenOfKey } from "../state-machine/state.ts";
import { isGood } from "../state-machine/token.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { CallScope } from "./call-types.ts";
import { misdirected } from "./misdirected.ts";

export interface Caller {
  /** `member` may pass on calls of others; `person` is somebody with a key of their own. */
  readonly kind: "member" | "person" | "removed" | "banned" | "stranger";
  readonly actor: Actor;
  readonly access: CallerAccess;
}

/** A call that came in, with the meta that the handler may trust. */
export interface IdentifiedCall {
  readonly name: string;
  readonly request: unknown;
  readonly meta: CallMeta;
  /** The key that shows a ticket; undefined for methods that take none. */
  readonly ticketShownBy: string | undefined;
}

/** What the first step of a call uses of the node. */
export interface IdentifyParts {
  readonly stateMachine: Pick<ClusterStateMachine, "state">;
  readonly clock: Pick<Clock, "unixMs">;
  readonly options: { readonly nodeId: number };
  readonly metrics?: Pick<ClusterMetrics, "refusedForwards">;
}

/**
 * @throws UNKNOWN_PEER or REMOVED for a key without rights, PERMISSION_DENIED for a member that speaks for another node,
 * UNAVAILABLE for one that speaks for people and is no voter, MISDIRECTED where this node is none, INVALID_ARGUMENT for
 * bytes that are no call, and what `accessOf` throws for a name that is not known
 */
export function identify(
  parts: IdentifyParts,
  incoming: IncomingCall,
  accessOf: (name: string) => MethodAccess,
): IdentifiedCall {
  const { state } = parts.stateMachine;
  const caller = callerOf(state, incoming.remote, parts.clock.unixMs());
  const { name, request, meta } = decodeServiceCall(incoming.payload);
  if (incoming.method === forwardRpcMethod) {
    if (caller.kind !== "member") throw refused(caller);
    assertMayPassOn(parts, caller, meta);
    return { name, request, meta, ticketShownBy: undefined };
  }
  const access = accessOf(incoming.method);
  const known = caller.kind === "member" || caller.kind === "person";
  if (!known && access !== "anyone" && (access !== "ticket" || caller.kind === "banned")) throw refused(caller);
  if (access !== "anyone" && (caller.kind === "person" || access === "ticket")) {
    const elsewhere = misdirected(state, parts.options.nodeId);
    if (elsewhere !== undefined) throw elsewhere;
  }
  const { endpointId } = incoming.remote;
  // A machine that shows a ticket calls under its key, also when it asks again after it was admitted.
  const own = access === "ticket" ? { actor: byKey(endpointId), access: "anyone" as const } : caller;
  return {
    name: incoming.method,
    request,
    meta: { ...meta, actor: own.actor, access: own.access, hops: 0 },
    ticketShownBy: access === "ticket" ? endpointId : undefined,
  };
}

function callerOf(state: ClusterState, { endpointId, nodeId }: IncomingCall["remote"], nowUnixMs: number): Caller {
  if (state.banned.has(endpointId)) return { kind: "banned", actor: byKey(endpointId), access: "anyone" };
  for (const node of state.nodes.values()) if (keysOf(node).includes(endpointId)) return member(node.id);
  const token = tokenOfKey(state, endpointId);
  if (token !== undefined && isGood(token, nowUnixMs))
    return { kind: "person", actor: { kind: "token", id: token.id }, access: token.role };
  for (const removed of state.removed.values()) {
    if (removed.endpointId === endpointId) return { kind: "removed", actor: byKey(endpointId), access: "anyone" };
  }
  // The transport knows members from the join answer before this node has applied any state.
  if (nodeId !== undefined && state.nodes.size === 0) return member(nodeId);
  return { kind: "stranger", actor: byKey(endpointId), access: "anyone" };
}

function byKey(endpointId: string): Actor {
  return { kind: "node", id: endpointId };
}

function member(nodeId: number): Caller {
  return { kind: "member", actor: { kind: "node", id: String(nodeId) }, access: "node" };
}

/**
 * A member passes on its own calls. Those of people and programs come from voters only: whoever is none was shown no token,
 * and made up what it says. @throws PERMISSION_DENIED, UNAVAILABLE
 */
function assertMayPassOn({ stateMachine, metrics }: IdentifyParts, { actor }: Caller, meta: CallMeta): void {
  if (meta.access === "node" || (meta.actor.kind === "node" && meta.access !== "anyone")) {
    if (meta.access === "node" && meta.actor.kind === "node" && meta.actor.id === actor.id) return;
    metrics?.refusedForwards.add(1, { of: "node" });
    throw notApplied("PERMISSION_DENIED", `node ${actor.id} does not speak for ${meta.actor.kind} ${meta.actor.id}`);
  }
  if (stateMachine.state.nodes.get(nodeKey(Number(actor.id)))?.role === "voter") return;
  metrics?.refusedForwards.add(1, { of: "person" });
  // One that was made a voter a moment ago may try again: this node learns of it soon.
  throw notApplied("UNAVAILABLE", `node ${actor.id} is no voter as far as this node knows: it speaks for nobody else`);
}

/** A node reports for itself only, whatever rights its key has. @throws PERMISSION_DENIED */
export function assertSpeaksFor({ meta }: Pick<CallScope, "meta">, nodeId: number): void {
  const { actor } = meta;
  if (actor.kind === "node" && actor.id === String(nodeId)) return;
  throw notApplied("PERMISSION_DENIED", `${actor.kind} ${actor.id} does not speak for node ${nodeId}`);
}

function refused(caller: Caller): BlixardError {
  if (caller.kind === "banned") return notApplied("REMOVED", bannedWords.message, { hint: bannedWords.hint });
  if (caller.kind === "removed") {
    return notApplied("REMOVED", "this node was removed from the cluster", {
      hint: "Join again with a new ticket and an empty data directory.",
    });
  }
  return notApplied("UNKNOWN_PEER", "this key is not known to the cluster, or not any more", {
    hint: "A node joins with `blixard join TICKET`, a person with `blixard context add NAME TICKET`.",
  });
}
