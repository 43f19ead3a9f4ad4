/**
 * Calls over the RPC lane between nodes. The key of the connection says who calls: a person's key that a ticket for an
 * operator or a viewer let in. Needs no port of the HTTP API.
 */
import {
  BlixardError,
  type Clock,
  changedError,
  errorCodeOf,
  isBlixardError,
  linkSignal,
  type Random,
  sleep,
  toBlixardError,
  toHex,
} from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ticketCrypto } from "@blixard/identity";
import {
  type CallMeta,
  callPeer,
  type Health,
  type JoinTicket,
  limits,
  type MethodName,
  openPeerStream,
  type PeerCaller,
  type PeerStreamer,
  type RequestOf,
  type ResponseOf,
  type StoredBlob,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  showTicket,
} from "@blixard/protocol";
import {
  type BlobPromise,
  type Channel,
  type ChannelCall,
  type ChannelStream,
  type NodePlace,
  nodeTimeoutMs,
} from "./channel.ts";

export interface RpcEndpoint {
  /** The key that the node must prove, 64 hexadecimal digits. */
  readonly endpointId: string;
  /** `host:port`, as hints. */
  readonly addresses: readonly string[];
}

/** What carries the bytes: the `call` of a transport of `@blixard/transport`, whose key is yours. */
export type RpcCaller = PeerCaller<RpcEndpoint>;

/** The `stream` of such a transport. */
export type RpcStreamCaller = PeerStreamer<RpcEndpoint>;

export class RpcChannel implements Channel {
  readonly #to: RpcEndpoint;
  readonly #rpc: RpcCaller;
  readonly #stream: RpcStreamCaller | undefined;
  readonly #random: Random;

  constructor(target: RpcEndpoint & { readonly rpc: RpcCaller; readonly stream?: RpcStreamCaller }, random: Random) {
    this.#to = target;
    this.#rpc = target.rpc;
    this.#stream = target.stream;
    this.#random = random;
  }

  get address(): string {
    return `${this.#to.endpointId.slice(0, 10)} (${this.#to.addresses.join(", ") || "found by its key"})`;
  }

  call<Name extends MethodName>(name: Name, request: RequestOf<Name>, call: ChannelCall): Promise<ResponseOf<Name>> {
    return callOverRpc(this.#rpc, this.#to, name, request, {
      ...call,
      idempotencyKey: call.idempotencyKey ?? toHex(this.#random.bytes(16)),
    });
  }

  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    call: ChannelStream<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    const meta = metaOf({ ...call, idempotencyKey: toHex(this.#random.bytes(16)) });
    try {
      const output = await openPeerStream({ stream: this.#stream }, this.#to, name, request, { ...call, meta });
      return identified(output, meta.requestId);
    } catch (error) {
      throw withRequestId(error, meta.requestId);
    }
  }

  async health(call: ChannelCall): Promise<Health> {
    const { nodeId, clusterId } = await this.call("identity.get", {}, call);
    const { leaderId } = await this.call("status.get", {}, call);
    const reason = leaderId === null ? "no leader is known" : "";
    return { healthy: true, nodeId, clusterId, ready: leaderId !== null, reason };
  }

  async uploadBlob(
    chunks: AsyncIterable<Uint8Array>,
    { offset: from = 0, ...promise }: BlobPromise,
    call: ChannelCall,
  ): Promise<StoredBlob> {
    const uploadId = toHex(this.#random.bytes(16));
    let offset = from;
    const send = async (data: Uint8Array, last: boolean) => {
      const own = { ...call, idempotencyKey: toHex(this.#random.bytes(16)) };
      const request = { uploadId, offset, data: new Uint8Array(data), last, ...promise };
      const answer = await callOverRpc(this.#rpc, this.#to, "blob.write", request, own);
      offset += data.length;
      return answer;
    };
    // Opens the upload: a node that serves nobody refuses before anything of the stream is read.
    await send(new Uint8Array(0), false);
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += limits.blobPieceBytesMax) {
        await send(chunk.subarray(at, at + limits.blobPieceBytesMax), false);
      }
    }
    const { digest, sizeBytes, nodeId } = await send(new Uint8Array(0), true);
    if (digest === null) throw new BlixardError("INTERNAL", "the node did not say what it stored");
    return { digest, sizeBytes, nodeId };
  }

  toOthers(nodes: readonly NodePlace[]): Channel[] {
    const stream = this.#stream === undefined ? {} : { stream: this.#stream };
    return nodes.map((node) => new RpcChannel({ ...node, rpc: this.#rpc, ...stream }, this.#random));
  }

  /** The connections belong to the transport. */
  close(): void {}
}

/**
 * The nodes with the first one that answers before the others, so that one which is gone costs little time. They are asked
 * in their order, each a moment after the one before it: a dial to a node that is gone takes long to end.
 * @throws what the first of them failed with when none answers: UNREACHABLE, UNKNOWN_PEER
 */
export async function answeringFirst<Node extends RpcEndpoint>(
  deps: { readonly rpc: RpcCaller; readonly random: Random; readonly clock: Clock },
  nodes: readonly Node[],
  signal?: AbortSignal,
): Promise<readonly Node[]> {
  if (nodes.length < 2) return nodes;
  const asking = linkSignal(signal);
  const ask = async (node: Node, turn: number) => {
    if (turn > 0) await sleep(deps.clock, turn * nextTurnMs, asking.signal);
    const idempotencyKey = toHex(deps.random.bytes(16));
    const call = { idempotencyKey, timeoutMs: firstAnswerMs, signal: asking.signal };
    await callOverRpc(deps.rpc, node, "identity.get", {}, call);
    return node;
  };
  try {
    const first = await Promise.any(nodes.slice(0, askedMax).map(ask));
    return [first, ...nodes.filter((node) => node !== first)];
  } catch (error) {
    const { errors } = error as AggregateError;
    throw errors.find((each) => errorCodeOf(each) === "UNREACHABLE") ?? errors[0];
  } finally {
    asking.abort();
    asking.release();
  }
}

const firstAnswerMs = 5_000;
const nextTurnMs = 300;
const askedMax = 8;

/**
 * Gives the rights of a ticket for an operator or a viewer to the key of `rpc`. Asks the nodes that the ticket names in
 * turn; asking again with the same key is harmless.
 * @throws TICKET_INVALID, TICKET_USED, TICKET_EXPIRED, UNREACHABLE
 */
export async function redeemTicket(
  deps: { readonly rpc: RpcCaller; readonly random: Random; readonly endpointId: string },
  ticket: JoinTicket,
  options: { readonly name?: string; readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<ResponseOf<"token.redeem">> {
  const { rpc, random, endpointId } = deps;
  const { name, ...limits } = options;
  const own = { endpointId, ...(name === undefined ? {} : { name }) };
  const idempotencyKey = toHex(random.bytes(16));
  let last: unknown;
  for (const to of await answeringFirst({ ...deps, clock: systemClock }, ticket.endpoints, options.signal)) {
    try {
      const shown = showTicket(ticket, { holder: endpointId, asked: to.endpointId }, ticketCrypto);
      const request = { ticket: shown, ...own };
      const answer = await callOverRpc(rpc, to, "token.redeem", request, { ...limits, idempotencyKey });
      if (answer.clusterId === ticket.clusterId) return answer;
      throw new BlixardError("WRONG_CLUSTER", `the node that answered is of cluster ${answer.clusterId}`);
    } catch (error) {
      last = error;
      const { code } = toBlixardError(error, "UNREACHABLE", "redeeming the ticket");
      if (!othersMayAnswer.has(code)) throw error;
    }
  }
  throw last ?? new BlixardError("TICKET_INVALID", "the ticket names no node that could be asked");
}

/** UNAVAILABLE and MISDIRECTED: a node that the ticket names and that votes no more. OVERLOADED: one that does not know it yet. */
const othersMayAnswer: ReadonlySet<string> = new Set([
  "UNREACHABLE",
  "DEADLINE_EXCEEDED",
  "UNAVAILABLE",
  "MISDIRECTED",
  "OVERLOADED",
]);

async function callOverRpc<Name extends MethodName>(
  rpc: RpcCaller,
  to: RpcEndpoint,
  name: Name,
  request: RequestOf<Name>,
  call: ChannelCall & { readonly idempotencyKey: string },
): Promise<ResponseOf<Name>> {
  const { timeoutMs, signal } = call;
  const meta = metaOf(call);
  try {
    return await callPeer({ clock: systemClock, call: rpc }, to, name, request, { meta, timeoutMs, signal });
  } catch (error) {
    throw withRequestId(error, meta.requestId);
  }
}

function metaOf(call: ChannelCall & { readonly idempotencyKey: string }): CallMeta {
  const { ifMatchIndex, sinceIndex } = call;
  return {
    requestId: call.idempotencyKey,
    // What the key of the connection stands for counts, and not what is said here.
    actor: { kind: "token", id: "" },
    access: "anyone",
    timeoutMs: nodeTimeoutMs(call),
    stale: call.stale ?? false,
    hops: 0,
    ...(ifMatchIndex === undefined ? {} : { ifMatchIndex }),
    ...(sinceIndex === undefined ? {} : { sinceIndex }),
  };
}

async function* identified<Item>(items: AsyncIterable<Item>, requestId: string): AsyncGenerator<Item> {
  try {
    yield* items;
  } catch (error) {
    throw withRequestId(error, requestId);
  }
}

/** The logs of the nodes know the call by this id. */
function withRequestId(error: unknown, requestId: string): unknown {
  if (!isBlixardError(error)) return error;
  return changedError(error, { details: { ...error.details, requestId } });
}
