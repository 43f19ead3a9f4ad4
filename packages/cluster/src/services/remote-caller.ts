/** Who is at the other end of a connection: its key decides, not what the call says about itself. */
import { BlixardError } from "@blixard/common";
import type { Actor, CallMeta, MethodAccess } from "@blixard/protocol";
import type { IncomingCall } from "../cluster-transport.ts";
import { tokenOfKey } from "../state-machine/state.ts";
import type { ServiceContext } from "./service-context.ts";

export interface Caller {
  /** `member` may pass on calls of others; `guest` is a person with a key of their own. */
  readonly kind: "member" | "guest" | "removed" | "stranger";
  readonly actor: Actor;
  readonly access: MethodAccess;
}

export function identifyRemote(context: Pick<ServiceContext, "stateMachine">, remote: IncomingCall["remote"]): Caller {
  const { state } = context.stateMachine;
  const byKey: Actor = { kind: "node", id: remote.endpointId };
  for (const node of state.nodes.values()) {
    if (node.endpointId !== remote.endpointId) continue;
    return member(node.id);
  }
  const guest = tokenOfKey(state, remote.endpointId);
  if (guest !== undefined) return { kind: "guest", actor: { kind: "token", id: guest.id }, access: guest.role };
  for (const removed of state.removed.values()) {
    if (removed.endpointId === remote.endpointId) return { kind: "removed", actor: byKey, access: "anyone" };
  }
  // The transport knows members from the join answer before this node has applied any state.
  if (remote.nodeId !== undefined && state.nodes.size === 0) return member(remote.nodeId);
  return { kind: "stranger", actor: byKey, access: "anyone" };
}

function member(nodeId: number): Caller {
  return { kind: "member", actor: { kind: "node", id: String(nodeId) }, access: "node" };
}

/** A member passes on calls of people and programs; what nodes say, each says itself. */
export function assertOwnCall(caller: Caller, meta: CallMeta): void {
  if (meta.access !== "node" || meta.actor.id === caller.actor.id) return;
  throw new BlixardError("PERMISSION_DENIED", `node ${caller.actor.id} does not speak for node ${meta.actor.id}`, {
    outcome: "not_applied",
  });
}

export function strangerRefused(caller: Caller): BlixardError {
  if (caller.kind === "removed") {
    return new BlixardError("REMOVED", "this node was removed from the cluster", {
      outcome: "not_applied",
      hint: "Join again with a new ticket and an empty data directory.",
    });
  }
  return new BlixardError("UNKNOWN_PEER", "this key is not known to the cluster, or not any more", {
    outcome: "not_applied",
    hint: "A node joins with `blixard join TICKET`, a person with `blixard context add NAME TICKET`.",
  });
}
