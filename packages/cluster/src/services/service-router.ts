/**
 * The one door to the service of a node. Every call, from HTTP, from a peer or from the node itself, is checked
 * against the schema and the access of its method, and then runs where the method's `place` says.
 */
import { BlixardError, errorCodeOf, toBlixardError, withDeadline } from "@blixard/common";
import {
  type CallMeta,
  decodeServiceCall,
  decodeServiceResponse,
  encodeServiceCall,
  encodeServiceResponse,
  forwardRpcMethod,
  type MethodName,
  type Methods,
  methods,
  type RequestOf,
  type ResponseOf,
} from "@blixard/protocol";
import type { IncomingCall } from "../cluster-transport.ts";
import type { ClusterMetrics } from "../metrics.ts";
import { withTimeLimit } from "../wait-for-change.ts";
import { assertAccess, invalidRequest } from "./access.ts";
import { createHandlers, type Handler, type Handlers } from "./handlers.ts";
import { isKnownMember, needsApproval } from "./join-service.ts";
import { routeToLeader } from "./leader-route.ts";
import { ownerToAsk, waitForReadIndex } from "./owner-route.ts";
import { assertOwnCall, identifyRemote, strangerRefused } from "./remote-caller.ts";
import type { ServiceCallScope, ServiceContext } from "./service-context.ts";
import { TicketGuard } from "./ticket-guard.ts";

export interface ServiceRouter {
  /** Validates, authorises, routes and answers. @throws BlixardError */
  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options?: { readonly signal?: AbortSignal },
  ): Promise<ResponseOf<Name>>;
  /** Answers a call of the transport's RPC lane. @throws BlixardError */
  handleRpc(call: IncomingCall, signal: AbortSignal): Promise<Uint8Array>;
}

export interface RouterEvents {
  /** Another member says that this node was removed. */
  readonly onRemoved: (error: BlixardError) => void;
}

type AnyMethod = Methods[MethodName];

export function createServiceRouter(
  context: ServiceContext,
  metrics: ClusterMetrics,
  events: RouterEvents,
): ServiceRouter {
  return new Router(context, metrics, events);
}

class Router implements ServiceRouter {
  readonly #context: ServiceContext;
  readonly #handlers: Handlers;
  readonly #metrics: ClusterMetrics;
  readonly #events: RouterEvents;
  readonly #guard: TicketGuard;

  constructor(context: ServiceContext, metrics: ClusterMetrics, events: RouterEvents) {
    this.#context = context;
    this.#handlers = createHandlers(context);
    this.#metrics = metrics;
    this.#events = events;
    this.#guard = new TicketGuard(context.clock);
  }

  async call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ResponseOf<Name>> {
    const startMs = this.#context.clock.monotonicMs();
    let code = "OK";
    try {
      return (await this.#checkAndRoute(name, request, meta, options.signal)) as ResponseOf<Name>;
    } catch (error) {
      code = errorCodeOf(error) ?? "INTERNAL";
      throw toBlixardError(error, "INTERNAL", name);
    } finally {
      this.#metrics.calls.add(1, { method: name, code });
      this.#metrics.callDuration.observe((this.#context.clock.monotonicMs() - startMs) / 1_000, { method: name });
    }
  }

  async handleRpc(incoming: IncomingCall, signal: AbortSignal): Promise<Uint8Array> {
    const caller = identifyRemote(this.#context, incoming.remote);
    const { name, request, meta } = decodeServiceCall(incoming.payload);
    if (incoming.method === forwardRpcMethod) {
      if (caller.kind !== "member") throw strangerRefused(caller);
      assertOwnCall(caller, meta);
      return encodeServiceResponse(await this.call(methodNameOf(name), request as never, meta, { signal }));
    }
    const method = methodNameOf(incoming.method);
    const byKey = method === "join.request" || method === "token.redeem";
    if (caller.kind === "removed" && !byKey && method !== "identity.get") {
      throw strangerRefused(caller);
    }
    if (caller.kind === "stranger" && methods[method].access !== "anyone") throw strangerRefused(caller);
    // A machine shows a ticket by its key, also when it asks once more after it was let in.
    const joiner = { actor: { kind: "node", id: incoming.remote.endpointId }, access: "anyone" } as const;
    const { actor, access } = byKey ? joiner : caller;
    const own: CallMeta = { ...meta, actor, access, hops: 0 };
    const run = async (asked: unknown) =>
      encodeServiceResponse(await this.call(method, asked as never, own, { signal }));
    if (!byKey) return run(request);
    const { endpointId } = incoming.remote;
    return this.#askForEntry(endpointId, () =>
      run(method === "join.request" ? this.#judged(request, endpointId) : request),
    );
  }

  /** Strangers are counted, and slowed down when they guess. */
  async #askForEntry<T>(endpointId: string, work: () => Promise<T>): Promise<T> {
    let code = "OK";
    try {
      return await this.#guard.run(endpointId, async () => work());
    } catch (error) {
      code = errorCodeOf(error) ?? "INTERNAL";
      throw error;
    } finally {
      this.#metrics.joinRequests.add(1, { code });
    }
  }

  /** The leader judges as well; but only the node that was asked knows which of its addresses can be reached. */
  #judged(request: unknown, endpointId: string): unknown {
    const parsed = methods["join.request"].request.safeParse(request);
    if (!parsed.success || parsed.data.ticket !== null) return request;
    if (isKnownMember(this.#context, parsed.data.nodeId, endpointId)) return request;
    return needsApproval(this.#context, parsed.data) ? { ...parsed.data, approval: true } : request;
  }

  async #checkAndRoute(
    name: MethodName,
    request: unknown,
    meta: CallMeta,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const method: AnyMethod = methods[methodNameOf(name)];
    assertAccess(name, method.access, meta.access);
    const parsed = method.request.safeParse(request);
    if (!parsed.success) throw invalidRequest(parsed.error.issues);
    const { clock } = this.#context;
    const { timeoutMs } = meta;
    const route = (scoped: AbortSignal) => this.#route(name, method, parsed.data, { meta, signal: scoped });
    if (method.place === "leader" || method.place === "read") {
      // These end by themselves when their signal aborts, and know then why, and what may have happened.
      return withTimeLimit(clock, timeoutMs, signal, route);
    }
    const options = { clock, timeoutMs, what: name, ...(signal === undefined ? {} : { signal }) };
    return withDeadline(options, route);
  }

  async #route(name: MethodName, method: AnyMethod, request: unknown, call: ServiceCallScope): Promise<unknown> {
    const handler = this.#handlers[name] as Handler<MethodName>;
    const runHere = () => handler(request as never, call);
    switch (method.place) {
      case "local":
        return runHere();
      case "read":
        if (!call.meta.stale) await waitForReadIndex(this.#context, call.signal);
        return runHere();
      case "leader":
        return routeToLeader(this.#context, {
          ...call,
          writes: method.writes,
          runHere,
          forward: (leaderId, timeoutMs, signal) =>
            this.#forward(leaderId, name, method, request, { ...call, signal }, timeoutMs),
        });
      case "owner":
        return this.#routeToOwner(name, method, request, call, runHere);
      default:
        return method.place satisfies never;
    }
  }

  async #routeToOwner(
    name: MethodName,
    method: AnyMethod,
    request: unknown,
    call: ServiceCallScope,
    runHere: () => Promise<unknown>,
  ): Promise<unknown> {
    const owner = await ownerToAsk(this.#context, (request as { readonly name: string }).name, call);
    if (owner === undefined) return runHere();
    return this.#forward(owner, name, method, request, call, call.meta.timeoutMs);
  }

  async #forward(
    to: number,
    name: MethodName,
    method: AnyMethod,
    request: unknown,
    call: ServiceCallScope,
    timeoutMs: number,
  ): Promise<unknown> {
    this.#metrics.forwards.add(1, { method: name });
    const meta: CallMeta = { ...call.meta, hops: call.meta.hops + 1, timeoutMs };
    const payload = encodeServiceCall({ name, request, meta });
    const options = { timeoutMs, signal: call.signal };
    let bytes: Uint8Array;
    try {
      bytes = await this.#context.transport.call(to, forwardRpcMethod, payload, options);
    } catch (error) {
      const wrapped = toBlixardError(error, "UNREACHABLE", `node ${to}`);
      if (wrapped.code === "REMOVED") this.#events.onRemoved(wrapped);
      throw wrapped;
    }
    const parsed = method.response.safeParse(decodeServiceResponse(bytes));
    if (parsed.success) return parsed.data;
    throw new BlixardError("FRAME_CORRUPT", `node ${to} answered ${name} with something else`, {
      outcome: "unknown",
      cause: parsed.error,
    });
  }
}

/** @throws INVALID_ARGUMENT for a name that is no method */
function methodNameOf(name: string): MethodName {
  if (Object.hasOwn(methods, name)) return name as MethodName;
  throw new BlixardError("INVALID_ARGUMENT", `there is no method ${name.slice(0, 64)}`, {
    outcome: "not_applied",
    hint: "Use nodes and tools of one release.",
  });
}
