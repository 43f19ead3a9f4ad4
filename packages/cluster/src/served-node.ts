/** What a node answers to others through its transport: while it starts, while it serves, and after that. */
import { type BlixardError, type Clock, notApplied } from "@blixard/common";
import { type MethodName, methods } from "@blixard/protocol";
import type { CallRouter } from "./calls/call-router.ts";
import { type CallSteps, type GateParts, takeRpcCall } from "./calls/call-steps.ts";
import type { CallScope, Handler } from "./calls/call-types.ts";
import { type NodeLifecycle, stopped } from "./node-lifecycle.ts";
import type { NodeIdentity, NodeParts } from "./node-parts.ts";
import type { NewerStartClaims } from "./peers/newer-start-claims.ts";
import type { ServedNode } from "./ports/cluster-transport.ts";
import { clusterKey, tokenOfKey } from "./state-machine/state.ts";

type StartingMethod = {
  readonly [Name in MethodName]: (typeof methods)[Name] extends { readonly whileStarting: true } ? Name : never;
}[MethodName];

/** Handlers of the methods of which the contract says that a node answers them while it starts. */
export type StartingHandlers = { readonly [Name in StartingMethod]: Handler<Name> };

export interface ServedNodeDeps {
  readonly stateMachine: Pick<NodeParts["stateMachine"], "state">;
  readonly identity: () => NodeIdentity;
  readonly store: { readonly starts: number } | undefined;
  readonly newerStartClaims: Pick<NewerStartClaims, "heard">;
}

/**
 * A node that starts answers from what it has on disk, and only what the contract marks: nodes that start together would
 * otherwise wait in vain for each other. Its calls take the same steps as those of a node that serves.
 */
export function startingNode(
  deps: ServedNodeDeps & Pick<GateParts, "options"> & { readonly clock: Clock },
  handlers: StartingHandlers,
): ServedNode {
  const { stateMachine } = deps;
  const steps: CallSteps = {
    parts: deps,
    around: (_, run) => run(),
    enter: (_, request) => request,
    leave: async () => {},
    place: (name, request, call) => {
      if (!isStartingMethod(name)) throw starting();
      return (handlers[name] as (request: unknown, call: CallScope) => Promise<unknown>)(request, call);
    },
  };
  return {
    ...introduction(deps),
    call: async (incoming, signal) => {
      if (!isStartingMethod(incoming.method) || !stateMachine.state.cluster.has(clusterKey)) throw starting();
      return takeRpcCall(steps, incoming, signal);
    },
    stream: () => Promise.reject(starting()),
  };
}

export function servingNode(
  deps: ServedNodeDeps & { readonly router: CallRouter; readonly lifecycle: NodeLifecycle },
): ServedNode {
  const { router, lifecycle } = deps;
  return {
    ...introduction(deps),
    call: async (call, signal) => {
      lifecycle.assertServing();
      return router.handleRpc(call, signal);
    },
    stream: async (call, signal) => {
      lifecycle.assertServing();
      return router.handleRpcStream(call, signal);
    },
  };
}

export const stoppedNode: ServedNode = {
  call: () => Promise.reject(stopped()),
  stream: () => Promise.reject(stopped()),
  isClientKey: () => false,
  start: () => undefined,
  onNewerStartClaimed: () => {},
};

function introduction({ stateMachine, identity, store, newerStartClaims }: ServedNodeDeps) {
  return {
    isClientKey: (endpointId: string) => tokenOfKey(stateMachine.state, endpointId) !== undefined,
    start: () => (store === undefined ? undefined : { incarnation: identity().incarnation, starts: store.starts }),
    onNewerStartClaimed: (by: number) => newerStartClaims.heard(by),
  } satisfies Partial<ServedNode>;
}

function isStartingMethod(name: string): name is StartingMethod {
  return Object.hasOwn(methods, name) && "whileStarting" in methods[name as MethodName];
}

function starting(): BlixardError {
  return notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." });
}
