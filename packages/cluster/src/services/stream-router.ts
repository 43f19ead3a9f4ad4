/**
 * The door to the stream methods of a node, beside that of the unary ones: checked against schema and access of the
 * method, and run on the node that its place says. A stream ends when the right to it ends: the node that was asked
 * first watches the token or the member that opened it.
 */
import {
  BlixardError,
  errorCodeOf,
  type LinkedSignal,
  linkSignal,
  toBlixardError,
  withDeadline,
} from "@blixard/common";
import {
  type CallMeta,
  decodeServiceCall,
  decodeStreamItems,
  encodeServiceCall,
  encodeStreamItems,
  forwardRpcMethod,
  type ParsedStreamRequestOf,
  type StreamInputOf,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streamMethods,
} from "@blixard/protocol";
import type { IncomingStream } from "../cluster-transport.ts";
import type { ClusterMetrics } from "../metrics.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { assertAccess, invalidRequest } from "./access.ts";
import { consoleStreams } from "./console-streams.ts";
import { kvStreams } from "./kv-watch.ts";
import { ownerToAsk, waitForReadIndex } from "./owner-route.ts";
import { assertOwnCall, identifyRemote, strangerRefused } from "./remote-caller.ts";
import type { ServiceCallScope, ServiceContext } from "./service-context.ts";

/** Resolves when the call is accepted. What comes out ends when the signal of the call aborts. */
type StreamHandler<Name extends StreamName> = (
  request: ParsedStreamRequestOf<Name>,
  call: ServiceCallScope,
  input: AsyncIterable<StreamInputOf<Name>>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;

export type StreamHandlers = { readonly [Name in StreamName]: StreamHandler<Name> };

export interface StreamScope<Name extends StreamName> {
  /** Aborts when the caller has gone, at the latest; until then the call holds resources. */
  readonly signal: AbortSignal;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}

export interface StreamRouter {
  /** Resolves when the call is accepted, within the time of `meta`; it may live longer. @throws BlixardError */
  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>>;
  /** Answers a stream call of the transport's RPC lane. @throws BlixardError */
  handleRpcStream(call: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Ends all streams: the node stops. */
  close(): void;
}

export function createStreamRouter(context: ServiceContext, metrics: ClusterMetrics): StreamRouter {
  return new Router(context, metrics);
}

type AnyStream = AsyncIterable<unknown>;
type AnyHandler = (request: unknown, call: ServiceCallScope, input: AnyStream) => Promise<AnyStream>;

class Router implements StreamRouter {
  readonly #context: ServiceContext;
  readonly #metrics: ClusterMetrics;
  readonly #handlers: StreamHandlers;
  readonly #open = new Set<LinkedSignal>();

  constructor(context: ServiceContext, metrics: ClusterMetrics) {
    this.#context = context;
    this.#metrics = metrics;
    this.#handlers = { ...consoleStreams(context), ...kvStreams(context) };
  }

  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    let code = "OK";
    // Some are known to this node only, and to no state: the holder of its own token.
    const endsWithRights = meta.hops === 0 && isKnown(this.#context.stateMachine.state, meta.actor);
    const life = linkSignal(scope.signal);
    this.#open.add(life);
    life.signal.addEventListener("abort", () => this.#open.delete(life), { once: true });
    try {
      const method = streamMethods[streamNameOf(name)];
      assertAccess(name, method.access, meta.access);
      const parsed = method.request.safeParse(request);
      if (!parsed.success) throw invalidRequest(parsed.error.issues);
      const { clock } = this.#context;
      const deadline = { clock, timeoutMs: meta.timeoutMs, what: name, signal: life.signal };
      const output = await withDeadline(deadline, (opening) =>
        this.#route(name, parsed.data as never, { meta, signal: life.signal }, opening, scope.input ?? nothing()),
      );
      if (endsWithRights) this.#endWithRights(meta, life);
      return output as AsyncIterable<StreamOutputOf<Name>>;
    } catch (error) {
      code = errorCodeOf(error) ?? "INTERNAL";
      life.abort();
      life.release();
      throw toBlixardError(error, "INTERNAL", name);
    } finally {
      this.#metrics.calls.add(1, { method: name, code });
    }
  }

  async handleRpcStream(incoming: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const caller = identifyRemote(this.#context, incoming.remote);
    if (caller.kind === "removed" || caller.kind === "stranger") throw strangerRefused(caller);
    const call = decodeServiceCall(incoming.payload);
    const forwarded = incoming.method === forwardRpcMethod;
    if (forwarded && caller.kind !== "member") throw strangerRefused(caller);
    if (forwarded) assertOwnCall(caller, call.meta);
    const name = streamNameOf(forwarded ? call.name : incoming.method);
    const meta = forwarded ? call.meta : { ...call.meta, actor: caller.actor, access: caller.access, hops: 0 };
    const input = decodeStreamItems(incoming.input, streamMethods[name].input, notInForm);
    return encodeStreamItems(
      await this.stream(name, call.request as never, meta, { signal, input: input as AsyncIterable<never> }),
    );
  }

  close(): void {
    for (const life of [...this.#open]) life.abort(new BlixardError("STOPPED", "the node is stopping"));
  }

  async #route(
    name: StreamName,
    request: unknown,
    call: ServiceCallScope,
    opening: AbortSignal,
    input: AnyStream,
  ): Promise<AsyncIterable<unknown>> {
    const runHere = () => (this.#handlers[name] as AnyHandler)(request, call, input);
    if (streamMethods[name].place === "read") {
      if (!call.meta.stale) await waitForReadIndex(this.#context, opening);
      return runHere();
    }
    const vmName = (request as { readonly name: string }).name;
    const owner = await ownerToAsk(this.#context, vmName, { ...call, signal: opening });
    return owner === undefined ? runHere() : this.#forward(owner, name, request, call, input);
  }

  async #forward(
    owner: number,
    name: StreamName,
    request: unknown,
    call: ServiceCallScope,
    input: AnyStream,
  ): Promise<AsyncIterable<unknown>> {
    const { transport } = this.#context;
    if (transport.stream === undefined) throw new BlixardError("UNSUPPORTED", "this transport carries no streams");
    this.#metrics.forwards.add(1, { method: name });
    const meta: CallMeta = { ...call.meta, hops: call.meta.hops + 1 };
    const { timeoutMs } = meta;
    const payload = encodeServiceCall({ name, request, meta });
    const options = { timeoutMs, signal: call.signal, input: encodeStreamItems(input) };
    const output = await transport.stream(owner, forwardRpcMethod, payload, options);
    return decodeStreamItems(output, streamMethods[name].output, notInForm);
  }

  /** Ends the stream when the token is revoked or the member removed in whose name it was opened. */
  #endWithRights({ actor }: CallMeta, life: LinkedSignal): void {
    const { stateMachine } = this.#context;
    stateMachine.version
      .until(() => !isKnown(stateMachine.state, actor), { signal: life.signal })
      .then(
        () => {
          const message = `the ${actor.kind} ${actor.id} has no rights here any more`;
          life.abort(new BlixardError("UNAUTHENTICATED", message));
        },
        // The call is over.
        () => {},
      );
  }
}

function isKnown(state: ClusterState, actor: CallMeta["actor"]): boolean {
  if (actor.kind === "token") return state.tokens.has(actor.id);
  return actor.kind === "system" || state.nodes.has(nodeKey(Number(actor.id)));
}

/** @throws INVALID_ARGUMENT for a name that is no stream method */
function streamNameOf(name: string): StreamName {
  if (Object.hasOwn(streamMethods, name)) return name as StreamName;
  throw new BlixardError("INVALID_ARGUMENT", `there is no stream method ${name.slice(0, 64)}`, {
    outcome: "not_applied",
    hint: "Use nodes and tools of one release.",
  });
}

async function* nothing(): AnyStream {}

function notInForm(): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", "an item of a stream is not in its form");
}
