/** Somebody with the key of a node, who speaks as that node with the packages' own transport. */
import type { RpcCaller } from "@blixard/client";
import { BlixardError, discardMetrics, errorCodeOf, silentLogger, toHex } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { endpointIdOfSeed } from "@blixard/identity";
import {
  type CallMeta,
  decodeServiceCall,
  decodeServiceResponse,
  encodeServiceCall,
  encodeServiceResponse,
  forwardRpcMethod,
  type Method,
  methods,
  type StreamMethod,
  type StreamName,
  streams,
} from "@blixard/protocol";
import { asNodeId, type PeerMessage } from "@blixard/raft";
import { createTransport, type EndpointAddress, type Peer, type Transport } from "@blixard/transport";
import { createGrpcAdapter } from "@blixard/transport/grpc";
import { createIrohAdapter } from "@blixard/transport/iroh";
import type { Way } from "./call-wall.ts";

export interface Answer {
  readonly code: string;
  readonly value?: unknown;
}

export interface ThiefOptions {
  readonly seed: Uint8Array;
  /** 0 for a key that is no member's. */
  readonly nodeId: number;
  readonly kind?: "iroh" | "grpc";
  /** Whether it vouches for others when it is asked. */
  readonly vouches?: boolean;
  readonly speaksFor: SpokenFor;
}

/** In whose names calls are passed on: the id of an administrator's token, the key of a machine, and a node. */
export interface SpokenFor {
  readonly token: string;
  readonly endpointId: string;
  readonly node: number;
}

const callTimeoutMs = 20_000;
export const isStream = (name: string): name is StreamName => Object.hasOwn(streams, name);

export class Thief {
  readonly nodeId: number;
  readonly endpointId: string;
  /** What the nodes have sent to it on the Raft lane. */
  readonly heard: { readonly from: number; readonly type: string }[] = [];
  /** How often it was asked whether another votes. */
  vouchesAsked = 0;
  readonly #transport: Transport;
  readonly #speaksFor: SpokenFor;

  private constructor(options: ThiefOptions, transport: Transport) {
    this.nodeId = options.nodeId;
    this.endpointId = endpointIdOfSeed(options.seed);
    this.#transport = transport;
    this.#speaksFor = options.speaksFor;
  }

  static async start(options: ThiefOptions): Promise<Thief> {
    const { seed: secretKey, nodeId } = options;
    const bind = "127.0.0.1:0";
    const adapter =
      options.kind === "grpc"
        ? createGrpcAdapter({ clock: systemClock, secretKey, bind })
        : createIrohAdapter({ secretKey, bind, relay: false, discovery: false });
    const deps = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics, adapter };
    const transport = createTransport(deps, { nodeId });
    const thief = new Thief(options, transport);
    transport.peers.bind({ onMessage: (from, message) => thief.#hear(from, message), onUnreachable: () => {} });
    transport.serve({
      start: () => ({ incarnation: 1, starts: 1_000 }),
      call: async ({ payload }) => {
        if (decodeServiceCall(payload).name !== "member.vouch") throw new BlixardError("UNAVAILABLE", "not now");
        thief.vouchesAsked++;
        return encodeServiceResponse({ vouches: options.vouches === true });
      },
    });
    await transport.start();
    return thief;
  }

  /** Carries its calls for a client. */
  get rpc(): RpcCaller {
    return this.#transport.call.bind(this.#transport);
  }

  /** Opens its sessions on the Raft lane. */
  meet(peers: readonly Peer[]): void {
    this.#transport.setPeers(peers);
  }

  /** How its sessions on the Raft lane are, and why one is not. */
  sessions(): readonly string[] {
    return this.#transport.sessions().map(({ state, lastError }) => (state === "ready" ? state : String(lastError)));
  }

  #hear(from: number, message: PeerMessage): void {
    this.heard.push({ from, type: message.type === "raft" ? message.message.type : message.type });
  }

  /** The nodes that have sent messages of a type. */
  heardFrom(type: string): number[] {
    return [...new Set(this.heard.filter((one) => one.type === type).map(({ from }) => from))];
  }

  send(to: number, message: PeerMessage): boolean {
    return this.#transport.peers.send(asNodeId(to), message);
  }

  /** Asks `name` in one of the ways; a stream is opened and its first item read. `asStream` asks by the other kind. */
  async ask(
    to: EndpointAddress,
    { name, way, request, meta = {}, asStream = isStream(name) }: AskOptions,
  ): Promise<Answer> {
    const claimed = { ...metaOf(way, this.nodeId, this.#speaksFor), requestId: toHex(systemRandom.bytes(8)), ...meta };
    const payload = encodeServiceCall({ name, request, meta: claimed });
    const method = way === "own" ? name : forwardRpcMethod;
    try {
      if (asStream) return { code: "OK", value: await this.#first(to, method, name, payload) };
      const bytes = await this.#transport.call(to, method, payload, { timeoutMs: callTimeoutMs });
      const value = decodeServiceResponse(bytes);
      // An answer that is none of this method is no success.
      (methods as Readonly<Record<string, Method>>)[name]?.response.parse(value);
      return { code: "OK", value };
    } catch (error) {
      return { code: errorCodeOf(error) ?? String(error) };
    }
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  async #first(to: EndpointAddress, method: string, name: string, payload: Uint8Array): Promise<unknown> {
    const items = await this.#transport.stream(to, method, payload, { timeoutMs: callTimeoutMs });
    for await (const item of items) {
      const value = decodeServiceResponse(item);
      (streams as Readonly<Record<string, StreamMethod>>)[name]?.output.parse(value);
      return value;
    }
    throw new BlixardError("UNAVAILABLE", "the stream ended without an item");
  }
}

export interface AskOptions {
  readonly name: string;
  readonly way: Way;
  readonly request: unknown;
  readonly meta?: Partial<CallMeta>;
  readonly asStream?: boolean;
}

function metaOf(way: Way, self: number, speaksFor: SpokenFor): CallMeta {
  const rest = { requestId: "", timeoutMs: callTimeoutMs, stale: false, hops: way === "own" ? 0 : 1 };
  const node = (id: number) => ({ kind: "node", id: String(id) }) as const;
  switch (way) {
    // What a direct call says of itself counts for nothing.
    case "own":
      return { ...rest, access: "admin", actor: { kind: "system", id: "leader" } };
    case "passed":
      return { ...rest, access: "node", actor: node(self) };
    case "admin":
      return { ...rest, access: "admin", actor: { kind: "token", id: speaksFor.token } };
    case "system":
      return { ...rest, access: "admin", actor: { kind: "system", id: "leader" } };
    case "key":
      return { ...rest, access: "anyone", actor: { kind: "node", id: speaksFor.endpointId } };
    case "other":
      return { ...rest, access: "node", actor: node(speaksFor.node) };
    case "raised":
      return { ...rest, access: "admin", actor: node(self) };
    default:
      return way satisfies never;
  }
}
