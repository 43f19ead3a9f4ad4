/** Finds out who calls. The key of the connection decides, not what the call says about itself. */
import { type BlixardError, notApplied } from "@blixard/common";
import {
  type Actor,
  type CallerAccess,
  type CallMeta,
  decodeServiceCall,
  forwardRpcMethod,
  type MethodAccess,
} from "@blixard/protocol";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { IncomingCall } from "../ports/cluster-transport.ts";
import { tokenOfKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { CallScope } from "./call-types.ts";

export interface Caller {
  /** `member` may pass on calls of others; `person` is somebody with a key of their own. */
  readonly kind: "member" | "person" | "removed" | "stranger";
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

/**
 * @throws UNKNOWN_PEER or REMOVED for a key without rights, PERMISSION_DENIED for a member that speaks for another node,
 * INVALID_ARGUMENT for bytes that are no call, and what `accessOf` throws for a name that is not known
 */
export function identify(
  stateMachine: Pick<ClusterStateMachine, "state">,
  incoming: IncomingCall,
  accessOf: (name: string) => MethodAccess,
): IdentifiedCall {
  const caller = callerOf(stateMachine.state, incoming.remote);
  const { name, request, meta } = decodeServiceCall(incoming.payload);
  if (incoming.method === forwardRpcMethod) {
    if (caller.kind !== "member") throw refused(caller);
    assertOwnCall(caller, meta);
    return { name, request, meta, ticketShownBy: undefined };
  }
  const access = accessOf(incoming.method);
  const known = caller.kind === "member" || caller.kind === "person";
  if (!known && access !== "anyone" && access !== "ticket") throw refused(caller);
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

function callerOf(state: ClusterState, { endpointId, nodeId }: IncomingCall["remote"]): Caller {
  for (const node of state.nodes.values()) if (node.endpointId === endpointId) return member(node.id);
  const token = tokenOfKey(state, endpointId);
  if (token !== undefined) return { kind: "person", actor: { kind: "token", id: token.id }, access: token.role };
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

/** A member may pass on calls of people and programs, and none of another node. @throws PERMISSION_DENIED */
function assertOwnCall(caller: Caller, meta: CallMeta): void {
  if (meta.access !== "node" || meta.actor.id === caller.actor.id) return;
  throw notApplied("PERMISSION_DENIED", `node ${caller.actor.id} does not speak for node ${meta.actor.id}`);
}

/** A node reports for itself only, whatever rights its key has. @throws PERMISSION_DENIED */
export function assertSpeaksFor({ meta }: Pick<CallScope, "meta">, nodeId: number): void {
  const { actor } = meta;
  if (actor.kind === "node" && actor.id === String(nodeId)) return;
  throw notApplied("PERMISSION_DENIED", `${actor.kind} ${actor.id} does not speak for node ${nodeId}`);
}

function refused(caller: Caller): BlixardError {
  if (caller.kind === "removed") {
    return notApplied("REMOVED", "this node was removed from the cluster", {
      hint: "Join again with a new ticket and an empty data directory.",
    });
  }
  return notApplied("UNKNOWN_PEER", "this key is not known to the cluster, or not any more", {
    hint: "A node joins with `blixard join TICKET`, a person with `blixard context add NAME TICKET`.",
  });
}
