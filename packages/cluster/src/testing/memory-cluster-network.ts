/** The network of a test cluster: Raft messages and calls inside one process, with nodes that can be cut off. */
import { BlixardError, notApplied, type Random, toHex } from "@blixard/common";
import { fromRpcError, toRpcError } from "@blixard/protocol";
import { asNodeId, type PeerMessage } from "@blixard/raft";
import { MemoryNetwork } from "@blixard/raft/testing";
import type { ClusterEndpoint, ClusterPeer, ClusterTransport, ServedNode } from "../ports/cluster-transport.ts";

interface Endpoint {
  readonly nodeId: number;
  served: ServedNode;
  peers: readonly ClusterPeer[];
}

export class MemoryClusterNetwork {
  readonly #raft: MemoryNetwork;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #cut = new Set<number>();
  /** Told of each call before it is delivered; may throw to lose it, or hold it back. */
  beforeCall: (from: number, to: number, method: string) => void | Promise<void> = () => {};
  /** Told of each answer before it is delivered; may throw to lose it. */
  beforeAnswer: (from: number, to: number, method: string) => void = () => {};

  /** What the caller gets instead of the answer: for nodes that lie. */
  answerOf: (from: number, to: number, method: string, answer: Uint8Array) => Uint8Array = (_, __, ___, answer) =>
    answer;

  /** False loses a message of the Raft lane. */
  passes: (to: number, message: PeerMessage) => boolean = () => true;

  constructor(random: Random) {
    this.#raft = new MemoryNetwork({ random });
    this.#raft.filter = (from, to, message) => !this.#cut.has(from) && !this.#cut.has(to) && this.passes(to, message);
  }

  /** Cuts `nodeId` off from all others, or connects it again. */
  cut(nodeId: number, cut: boolean): void {
    if (cut) this.#cut.add(nodeId);
    else this.#cut.delete(nodeId);
  }

  /** Carries calls to `endpointId` until the returned function is called. */
  join(nodeId: number, endpointId: string): { transport: ClusterTransport; leave: () => void } {
    const endpoint: Endpoint = { nodeId, served: nobody, peers: [] };
    this.#endpoints.set(endpointId, endpoint);
    const transport: ClusterTransport = {
      serve: (node) => {
        endpoint.served = node;
      },
      peers: this.#raft.transport(asNodeId(nodeId)),
      endpointId,
      addresses: () => [`127.0.0.1:${7000 + nodeId}`],
      setPeers: (peers) => {
        endpoint.peers = peers;
      },
      call: (to, method, payload, options) => this.#call(endpoint, endpointId, to, method, payload, options.signal),
      stream: (to, method, payload, options) => this.#stream(endpoint, endpointId, to, method, payload, options),
      sessions: () =>
        endpoint.peers.map((peer) => ({
          nodeId: peer.nodeId,
          endpointId: peer.endpointId,
          transport: "memory",
          path: "direct",
          rttMs: 0,
          lastContactMs: this.#reaches(nodeId, this.#keyInUse(peer)) ? 0 : Number.MAX_SAFE_INTEGER,
        })),
    };
    return { transport, leave: () => this.#endpoints.delete(endpointId) };
  }

  /** Of a node that changes its key: the one with which it runs. */
  #keyInUse({ endpointId, otherEndpointIds = [] }: ClusterPeer): string {
    return [endpointId, ...otherEndpointIds].find((key) => this.#endpoints.has(key)) ?? endpointId;
  }

  #reaches(from: number, endpointId: string): boolean {
    const target = this.#endpoints.get(endpointId);
    return target !== undefined && !this.#cut.has(from) && !this.#cut.has(target.nodeId);
  }

  async #call(
    from: Endpoint,
    fromEndpointId: string,
    to: number | ClusterEndpoint,
    method: string,
    payload: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const { endpointId, target, remote } = await this.#arrive(from, fromEndpointId, to, method);
    try {
      const answer = await target.served.call({ method, payload, remote }, signal ?? new AbortController().signal);
      this.beforeAnswer(from.nodeId, target.nodeId, method);
      if (!this.#reaches(from.nodeId, endpointId)) throw new BlixardError("UNREACHABLE", "the answer was lost");
      return this.answerOf(from.nodeId, target.nodeId, method, answer);
    } catch (error) {
      // As on a wire: the error arrives as data, not as the object that was thrown.
      throw fromRpcError(toRpcError(error));
    }
  }

  async #stream(
    from: Endpoint,
    fromEndpointId: string,
    to: number | ClusterEndpoint,
    method: string,
    payload: Uint8Array,
    options: Parameters<NonNullable<ClusterTransport["stream"]>>[3],
  ): Promise<AsyncIterable<Uint8Array>> {
    const { target, remote } = await this.#arrive(from, fromEndpointId, to, method);
    const { input = noItems(), signal = new AbortController().signal } = options;
    try {
      return overWire(await target.served.stream({ method, payload, remote, input }, signal));
    } catch (error) {
      throw fromRpcError(toRpcError(error));
    }
  }

  async #arrive(from: Endpoint, fromEndpointId: string, to: number | ClusterEndpoint, method: string) {
    const peer = typeof to === "number" ? from.peers.find(({ nodeId }) => nodeId === to) : undefined;
    const named = typeof to === "number" ? undefined : to.endpointId;
    const endpointId = peer === undefined ? named : this.#keyInUse(peer);
    const target = endpointId === undefined ? undefined : this.#endpoints.get(endpointId);
    if (endpointId === undefined || target === undefined || !this.#reaches(from.nodeId, endpointId)) {
      throw notApplied("UNREACHABLE", `node ${String(to)} cannot be reached`);
    }
    await this.beforeCall(from.nodeId, target.nodeId, method);
    const hasKey = ({ endpointId: key, otherEndpointIds = [] }: ClusterPeer) =>
      [key, ...otherEndpointIds].includes(fromEndpointId);
    const nodeId = target.peers.find(hasKey)?.nodeId;
    const remote = { endpointId: fromEndpointId, nodeId };
    return { endpointId, target, remote };
  }
}

const starting = () => Promise.reject(notApplied("UNAVAILABLE", "the node is starting"));

/** Answers before a node has registered itself. */
const nobody: ServedNode = {
  ...{ call: starting, stream: starting, isClientKey: () => false, start: () => undefined },
  onNewerStartClaimed: () => {},
};

async function* noItems(): AsyncIterable<Uint8Array> {}

async function* overWire(items: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* items;
  } catch (error) {
    throw fromRpcError(toRpcError(error));
  }
}

/** A made-up key for a node. */
export function endpointIdOf(nodeId: number): string {
  return toHex(Uint8Array.from({ length: 32 }, (_, at) => (at * 7 + nodeId) & 0xff));
}
