/** What a node answers to others through its transport: while it starts, while it serves, and after that. */
import { type BlixardError, notApplied } from "@blixard/common";
import { authorize, encodeServiceResponse, type MethodName, methods } from "@blixard/protocol";
import type { CallRouter } from "./calls/call-router.ts";
import type { CallScope, Handler } from "./calls/call-types.ts";
import { identify } from "./calls/identify.ts";
import { validate } from "./calls/validate.ts";
import { type NodeLifecycle, stopped } from "./node-lifecycle.ts";
import type { NodeIdentity, NodeParts } from "./node-parts.ts";
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
}

/**
 * A node that starts answers from what it has on disk, and only what the contract marks: nodes that start together would
 * otherwise wait in vain for each other.
 */
export function startingNode(deps: ServedNodeDeps, handlers: StartingHandlers): ServedNode {
  const { stateMachine } = deps;
  return {
    ...introduction(deps),
    call: async (incoming, signal) => {
      const name = incoming.method;
      if (!isStartingMethod(name) || !stateMachine.state.cluster.has(clusterKey)) throw starting();
      const { request, meta } = identify(stateMachine, incoming, () => methods[name].access);
      authorize(name, methods[name].access, meta.access);
      const handler = handlers[name] as (request: unknown, call: CallScope) => Promise<unknown>;
      return encodeServiceResponse(await handler(validate(methods[name].request, request), { meta, signal }));
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
};

function introduction({ stateMachine, identity, store }: ServedNodeDeps): Pick<ServedNode, "isClientKey" | "start"> {
  return {
    isClientKey: (endpointId) => tokenOfKey(stateMachine.state, endpointId) !== undefined,
    start: () => (store === undefined ? undefined : { incarnation: identity().incarnation, starts: store.starts }),
  };
}

function isStartingMethod(name: string): name is StartingMethod {
  return Object.hasOwn(methods, name) && "whileStarting" in methods[name as MethodName];
}

function starting(): BlixardError {
  return notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." });
}
