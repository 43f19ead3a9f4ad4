/** The calls that this node makes to others, in its own name or in the name of the caller whose call it passes on. */
import { type BlixardError, type Clock, type Random, toBlixardError } from "@blixard/common";
import {
  type CallMeta,
  callPeer,
  type Method,
  type MethodName,
  methods,
  openPeerStream,
  type RequestOf,
  type ResponseOf,
  type StreamMethod,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streams,
} from "@blixard/protocol";
import { randomRequestId } from "../ids.ts";
import type { ClusterEndpoint, ClusterTransport } from "../ports/cluster-transport.ts";
import { clusterLevel, needsLevel } from "../state-machine/level.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { CallScope, StreamScope } from "./call-types.ts";

export interface PeerCallsDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Pick<ClusterTransport, "call" | "stream" | "sessions">;
  readonly nodeId: number;
  readonly state: () => ClusterState;
}

export interface AskOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const askMembersTimeoutMs = 1_000;

export class PeerCalls {
  readonly #deps: PeerCallsDeps;

  constructor(deps: PeerCallsDeps) {
    this.#deps = deps;
  }

  /** Calls one node in the name of this node. @throws as `callPeer`, and NEEDS_UPGRADE for what a member may not know */
  async ask<Name extends MethodName>(
    to: number | ClusterEndpoint,
    name: Name,
    request: RequestOf<Name>,
    { timeoutMs, signal }: AskOptions,
  ): Promise<ResponseOf<Name>> {
    this.#assertKnown(methods[name]);
    const { random, nodeId } = this.#deps;
    const meta = nodeMeta(nodeId, randomRequestId(random), timeoutMs);
    return callPeer(this.#port(), to, name, request, { meta, signal });
  }

  /**
   * Asks every connected member, in the name of this node, for what only that member knows. Returns the answers by
   * node id, without this node, and without members that are not connected, refuse, or do not answer in time. Empty for a
   * method that one of them may not know.
   */
  askMembers<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    { signal }: Pick<CallScope, "signal">,
  ): Promise<ReadonlyMap<number, ResponseOf<Name>>> {
    return this.#ofMembers(name, (nodeId) =>
      this.ask(nodeId, name, request, { timeoutMs: askMembersTimeoutMs, signal }),
    );
  }

  /** Passes a call on to every connected member, in the name of its caller. Returns the answers as `askMembers` does. */
  forwardToMembers<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    call: CallScope,
  ): Promise<ReadonlyMap<number, ResponseOf<Name>>> {
    return this.#ofMembers(name, (nodeId) => this.forward(nodeId, name, request, call, askMembersTimeoutMs));
  }

  async #ofMembers<Name extends MethodName>(
    name: Name,
    askOne: (nodeId: number) => Promise<ResponseOf<Name>>,
  ): Promise<ReadonlyMap<number, ResponseOf<Name>>> {
    if (this.#refusalOf(methods[name]) !== undefined) return new Map();
    const connected = this.#deps.transport.sessions().filter(({ path }) => path !== "none");
    const answers = await Promise.allSettled(
      connected.map(async ({ nodeId }) => [nodeId, await askOne(nodeId)] as const),
    );
    return new Map(answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : [])));
  }

  /** Passes a call on, in the name of its caller. @throws as `ask` */
  async forward<Name extends MethodName>(
    to: number,
    name: Name,
    request: RequestOf<Name>,
    call: CallScope,
    timeoutMs: number,
  ): Promise<ResponseOf<Name>> {
    this.#assertKnown(methods[name]);
    try {
      return await callPeer(this.#port(), to, name, request, passedOn(call, timeoutMs));
    } catch (error) {
      throw atNode(error, to);
    }
  }

  /** Passes a stream on, in the name of its caller. @throws as `openPeerStream`, and NEEDS_UPGRADE */
  async forwardStream<Name extends StreamName>(
    to: number,
    name: Name,
    request: StreamRequestOf<Name>,
    call: CallScope,
    input: StreamScope<Name>["input"],
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    this.#assertKnown(streams[name]);
    const { transport } = this.#deps;
    const port = { stream: transport.stream?.bind(transport) };
    try {
      return await openPeerStream(port, to, name, request, { ...passedOn(call, call.meta.timeoutMs), input });
    } catch (error) {
      throw atNode(error, to);
    }
  }

  /** A method above the level of the cluster is not sent: a member that does not know it could answer anything. */
  #refusalOf({ since = 0 }: Method | StreamMethod): BlixardError | undefined {
    const state = this.#deps.state();
    return since > clusterLevel(state) ? needsLevel(state, since) : undefined;
  }

  #assertKnown(method: Method | StreamMethod): void {
    const refusal = this.#refusalOf(method);
    if (refusal !== undefined) throw refusal;
  }

  #port() {
    const { clock, transport } = this.#deps;
    return { clock, call: transport.call.bind(transport) };
  }
}

function passedOn({ meta, signal }: CallScope, timeoutMs: number) {
  return { meta: { ...meta, timeoutMs, hops: meta.hops + 1 }, signal, forwarded: true };
}

function atNode(error: unknown, to: number): BlixardError {
  return toBlixardError(error, "UNREACHABLE", `node ${to}`);
}

/** The meta of a call that this node makes for itself. */
export function nodeMeta(nodeId: number, requestId: string, timeoutMs: number): CallMeta {
  return {
    requestId,
    actor: { kind: "node", id: String(nodeId) },
    access: "node",
    timeoutMs,
    stale: false,
    hops: 0,
  };
}
