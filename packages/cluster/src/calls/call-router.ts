/**
 * The one door to the service of a node that serves. Every call and every stream, from HTTP, from a peer or from the node
 * itself, takes the steps of `call-steps.ts`; here is where they lead: to this node, to the leader, or to the owner of a VM.
 */
import {
  BlixardError,
  errorCodeOf,
  type LinkedSignal,
  linkSignal,
  onAbort,
  toBlixardError,
  Watch,
  withDeadline,
} from "@blixard/common";
import {
  authorize,
  type CallMeta,
  decodeStreamItems,
  encodeStreamItems,
  type Method,
  type MethodName,
  methods,
  type RequestOf,
  type ResponseOf,
  type StreamMethod,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streams,
} from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import type { IncomingCall, IncomingStream } from "../ports/cluster-transport.ts";
import { withoutUserData } from "../services/vm-user-data.ts";
import { type CallSteps, passGate, streamNameOf, takeCall, takeRpcCall } from "./call-steps.ts";
import type { CallScope, EntrySteps, ExitSteps, Handlers, StreamHandlers, StreamScope } from "./call-types.ts";
import { identify } from "./identify.ts";
import { routeToLeader } from "./leader-route.ts";
import { ownerToAsk, volumeNodeToAsk, waitForReadIndex } from "./owner-route.ts";
import { hashOfRequest } from "./request-hash.ts";
import { untilRightsEnd, withRightsNow } from "./rights.ts";
import { TicketGuard } from "./ticket-guard.ts";

/** What these steps use of the node. */
type RouterParts = Pick<
  NodeParts,
  | "clock"
  | "metrics"
  | "options"
  | "raft"
  | "transport"
  | "stateMachine"
  | "peerCalls"
  | "leaderContact"
  | "sha256"
  | "budgets"
>;

export interface RouterDeps {
  readonly parts: RouterParts;
  readonly handlers: Handlers;
  readonly streamHandlers: StreamHandlers;
  readonly entrySteps: EntrySteps;
  readonly exitSteps: ExitSteps;
}

type AnyStream = AsyncIterable<unknown>;
type AnyHandler = (request: unknown, call: CallScope) => Promise<unknown>;
type AnyStreamHandler = (request: unknown, call: CallScope, input: AnyStream) => Promise<AnyStream>;

export class CallRouter {
  readonly #deps: RouterDeps;
  readonly #guard: TicketGuard;
  readonly #steps: CallSteps;
  readonly #open = new Set<LinkedSignal>();
  /** How often a member has answered that this node was removed. Whether it was, the members have to be asked. */
  readonly removalClaims = new Watch(0);

  constructor(deps: RouterDeps) {
    this.#deps = deps;
    this.#guard = new TicketGuard(deps.parts.clock);
    this.#steps = {
      parts: deps.parts,
      around: ({ name, ticketShownBy }, steps) => {
        const run = () => this.#measured(name, steps);
        return ticketShownBy === undefined ? run() : this.#guarded(ticketShownBy, run);
      },
      enter: (name, request, endpointId) => {
        const step = deps.entrySteps[name] as ((request: unknown, endpointId: string) => unknown) | undefined;
        return step === undefined ? request : step(request, endpointId);
      },
      place: (name, request, call) => this.#place(name, request, call),
      leave: async (name, answer, signal) => {
        const step = deps.exitSteps[name] as ((answer: unknown, signal: AbortSignal) => Promise<void>) | undefined;
        await step?.(answer, signal);
      },
    };
  }

  /** Authorises, validates, routes and answers. @throws BlixardError */
  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ResponseOf<Name>> {
    return takeCall(this.#steps, { name, request, meta, signal: options.signal }) as Promise<ResponseOf<Name>>;
  }

  /**
   * Opens a stream: resolves when the call is accepted, within the time of `meta`; it may live longer, until the right to
   * it ends. @throws BlixardError
   */
  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    const output = this.#measured(name, () => this.#stream(name, request, meta, scope));
    return (await output) as AsyncIterable<StreamOutputOf<Name>>;
  }

  /** Answers a call of the transport's RPC lane. @throws BlixardError */
  handleRpc(incoming: IncomingCall, signal: AbortSignal): Promise<Uint8Array> {
    const { budgets } = this.#deps.parts;
    return budgets.call(incoming.remote.nodeId, () => takeRpcCall(this.#steps, incoming, signal));
  }

  /** Answers a stream call of the transport's RPC lane. @throws BlixardError */
  handleRpcStream(incoming: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { budgets } = this.#deps.parts;
    return budgets.stream(incoming.remote.nodeId, signal, () => this.#takeRpcStream(incoming, signal));
  }

  async #takeRpcStream(incoming: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { parts } = this.#deps;
    const { name, request, meta } = identify(parts, incoming, (asked) => streams[streamNameOf(asked)].access);
    const stream = streamNameOf(name);
    const input = decodeStreamItems(incoming.input, streams[stream].input, notInForm) as AsyncIterable<never>;
    return encodeStreamItems(
      await this.#measured(stream, () => this.#stream(stream, request, meta, { signal, input })),
    );
  }

  /** Ends all streams: the node stops. */
  close(): void {
    for (const life of [...this.#open]) life.abort(new BlixardError("STOPPED", "the node is stopping"));
  }

  async #measured<T>(method: string, work: () => Promise<T>): Promise<T> {
    const { metrics, clock } = this.#deps.parts;
    const startMs = clock.monotonicMs();
    let code = "OK";
    try {
      return await work();
    } catch (error) {
      code = errorCodeOf(error) ?? "INTERNAL";
      throw toBlixardError(error, "INTERNAL", method);
    } finally {
      metrics.calls.add(1, { method, code });
      metrics.callDuration.observe((clock.monotonicMs() - startMs) / 1_000, { method });
    }
  }

  /** Counts the calls of keys that show tickets, and slows down the keys that guess. */
  async #guarded<T>(endpointId: string, work: () => Promise<T>): Promise<T> {
    let code = "OK";
    try {
      return await this.#guard.run(endpointId, work);
    } catch (error) {
      code = errorCodeOf(error) ?? "INTERNAL";
      throw error;
    } finally {
      this.#deps.parts.metrics.joinRequests.add(1, { code });
    }
  }

  /** May throw at once. */
  #place(name: MethodName, request: unknown, call: CallScope): Promise<unknown> {
    const { parts } = this.#deps;
    const { place, writes, access }: Method = methods[name];
    if (access !== "local") parts.leaderContact.assertFor(call.meta);
    switch (place) {
      case "local":
        return this.#runHere(name, request, call);
      case "read":
        return this.#read(name, request, call);
      case "leader":
        return routeToLeader(parts, {
          meta: call.meta,
          signal: call.signal,
          writes,
          runHere: (meta) => this.#runHere(name, request, { meta, signal: call.signal }),
          forward: (to, meta, signal) => this.#forward(to, name, request, { meta, signal }),
        });
      case "owner":
        return this.#askOwner(name, request, call);
      default:
        return place satisfies never;
    }
  }

  async #read(name: MethodName, request: unknown, call: CallScope): Promise<unknown> {
    if (!call.meta.stale) await waitForReadIndex(this.#deps.parts, call.signal);
    return this.#runHere(name, request, call);
  }

  async #askOwner(name: MethodName, request: unknown, call: CallScope): Promise<unknown> {
    const { owned }: Method = methods[name];
    const find = owned === "volume" ? volumeNodeToAsk : ownerToAsk;
    const owner = await find(this.#deps.parts, ownedNameIn(request), call);
    return owner === undefined ? this.#runHere(name, request, call) : this.#forward(owner, name, request, call);
  }

  async #runHere(name: MethodName, request: unknown, call: CallScope): Promise<unknown> {
    const { parts, handlers } = this.#deps;
    const { writes, access }: Method = methods[name];
    const known = withRightsNow(parts, call);
    const meta = known instanceof Promise ? await known : known;
    authorize(name, access, meta.access);
    const handler = handlers[name] as AnyHandler;
    const { signal } = call;
    if (!writes) return handler(request, { meta, signal });
    const requestHash = hashOfRequest(parts.sha256, name, withoutUserData(name, request));
    return handler(request, { meta, signal, requestHash });
  }

  async #forward(to: number, name: MethodName, request: unknown, call: CallScope): Promise<unknown> {
    this.#deps.parts.metrics.forwards.add(1, { method: name });
    try {
      return await this.#deps.parts.peerCalls.forward(to, name, request as never, call, call.meta.timeoutMs);
    } catch (error) {
      if (errorCodeOf(error) === "REMOVED") this.removalClaims.update((claims) => claims + 1);
      throw error;
    }
  }

  async #stream(name: StreamName, asked: unknown, meta: CallMeta, scope: StreamScope<never>): Promise<AnyStream> {
    const { parts } = this.#deps;
    const method: StreamMethod = streams[streamNameOf(name)];
    const request = passGate(parts, name, method, { meta, request: asked });
    parts.leaderContact.assertFor(meta);
    const life = this.#openLife(scope.signal);
    try {
      const deadline = { clock: parts.clock, timeoutMs: meta.timeoutMs, what: name, signal: life.signal };
      const output = await withDeadline(deadline, (opening) =>
        this.#placeStream(name, request, { meta, signal: life.signal }, opening, scope.input ?? nothing()),
      );
      if (meta.hops === 0) {
        // Rejects when the call is over.
        untilRightsEnd(parts, meta, life.signal).then(life.abort.bind(life), () => {});
      }
      return output;
    } catch (error) {
      life.abort();
      life.release();
      throw error;
    }
  }

  #openLife(outer: AbortSignal): LinkedSignal {
    const life = linkSignal(outer);
    if (life.signal.aborted) return life;
    this.#open.add(life);
    onAbort(life.signal, () => this.#open.delete(life));
    return life;
  }

  async #placeStream(
    name: StreamName,
    request: unknown,
    call: CallScope,
    opening: AbortSignal,
    input: AnyStream,
  ): Promise<AnyStream> {
    const { parts, streamHandlers } = this.#deps;
    const runHere = async () => {
      const meta = await withRightsNow(parts, { ...call, signal: opening });
      authorize(name, access, meta.access);
      return await (streamHandlers[name] as AnyStreamHandler)(request, { ...call, meta }, input);
    };
    const { place, access }: StreamMethod = streams[name];
    switch (place) {
      case "read":
        if (!call.meta.stale) await waitForReadIndex(parts, opening);
        return runHere();
      case "owner": {
        const owner = await ownerToAsk(parts, ownedNameIn(request), { ...call, signal: opening });
        if (owner === undefined) return runHere();
        parts.metrics.forwards.add(1, { method: name });
        return parts.peerCalls.forwardStream(owner, name, request as never, call, input as AsyncIterable<never>);
      }
      default:
        return place satisfies never;
    }
  }
}

/** Methods that run at the owner of a VM, or of a volume, name it in the field `name`. */
function ownedNameIn(request: unknown): string {
  return (request as { readonly name: string }).name;
}

async function* nothing(): AnyStream {}

function notInForm(): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", "an item of a stream is not in its form");
}
