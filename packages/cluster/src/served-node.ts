/** What a node answers to others through its transport: while it starts, while it serves, and after that. */
import { type BlixardError, type Clock, notApplied } from "@blixard/common";
import { type CallMeta, type MethodName, methods, type RequestOf, type ResponseOf } from "@blixard/protocol";
import type { CallRouter } from "./calls/call-router.ts";
import { type CallSteps, type GateParts, takeCall, takeRpcCall } from "./calls/call-steps.ts";
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

/** What a node says of itself while its start does not go on. */
export type HeldBackHandlers = { readonly [Name in "status.get" | "identity.get"]: Handler<Name> };

const isHeldBackMethod = (name: string): name is keyof HeldBackHandlers =>
  name === "status.get" || name === "identity.get";

export interface StartingNode extends ServedNode {
  /** Answers a person or a program whose rights were looked up. @throws BlixardError */
  answer<Name extends MethodName>(name: Name, request: RequestOf<Name>, meta: CallMeta): Promise<ResponseOf<Name>>;
}

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
  deps: ServedNodeDeps &
    Pick<GateParts, "options"> & {
      readonly clock: Clock;
      /** Why the start does not go on, and what it then says of itself; undefined while it does. */
      readonly heldBack: ({ readonly reason: string } & HeldBackHandlers) | undefined;
    },
  handlers: StartingHandlers,
): StartingNode {
  const { stateMachine, heldBack } = deps;
  const starting = (): BlixardError =>
    heldBack === undefined
      ? notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." })
      : notApplied("UNAVAILABLE", `the node is ${heldBack.reason}`, { hint: "Ask another node. See: blixard status" });
  const handlerOf = (name: string) => {
    const handler = isStartingMethod(name) ? handlers[name] : isHeldBackMethod(name) ? heldBack?.[name] : undefined;
    if (handler === undefined) throw starting();
    return handler as (request: unknown, call: CallScope) => Promise<unknown>;
  };
  const steps: CallSteps = {
    parts: deps,
    around: async (_, run) => run(),
    enter: (_, request) => request,
    leave: async () => {},
    place: (name, request, call) => handlerOf(name)(request, call),
  };
  return {
    ...introduction(deps),
    call: async (incoming, signal) => {
      handlerOf(incoming.method);
      if (!stateMachine.state.cluster.has(clusterKey)) throw starting();
      return takeRpcCall(steps, incoming, signal);
    },
    stream: () => Promise.reject(starting()),
    answer: async (name, request, meta) => {
      handlerOf(name);
      return takeCall(steps, { name, request, meta, signal: undefined }) as Promise<ResponseOf<typeof name>>;
    },
  };
}

export function servingNode(
  deps: ServedNodeDeps & { readonly router: CallRouter; readonly lifecycle: NodeLifecycle },
): ServedNode {
  const { router, lifecycle } = deps;
  return {
    ...introduction(deps),
    call: (call, signal) => {
      const { refusal } = lifecycle;
      return refusal === undefined ? router.handleRpc(call, signal) : Promise.reject(refusal);
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
