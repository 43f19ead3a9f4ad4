/** A channel brings calls to one node and the answers back. There are two: HTTP(S), and the RPC lane between nodes. */
import type {
  Health,
  HttpMethodName,
  RequestOf,
  ResponseOf,
  StoredBlob,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";

export interface ChannelCall {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly stale?: boolean;
  readonly ifMatchIndex?: number;
  /** The same over all retries of a write. */
  readonly idempotencyKey?: string;
  /** An index of the log from before the key was used first. */
  readonly sinceIndex?: number;
}

export interface ChannelStream<Name extends StreamName> {
  /** For the opening. */
  readonly timeoutMs: number;
  /** Ends the stream when it aborts. */
  readonly signal?: AbortSignal;
  /** From the local state of the node that answers. */
  readonly stale?: boolean;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}

/** What the node is told: a little less than the caller waits, so that its reason arrives instead of silence. */
export function nodeTimeoutMs({ timeoutMs }: Pick<ChannelCall, "timeoutMs">): number {
  return Math.max(1, Math.floor(timeoutMs - Math.min(answerMarginMs, timeoutMs / 10)));
}

const answerMarginMs = 500;

/** A node as another one names it. */
export interface NodePlace {
  /** The key that it must prove. */
  readonly endpointId: string;
  readonly addresses: readonly string[];
}

/** What the sender of a blob says of it. A node of before level 3 refuses it: it is said only where that is higher. */
export interface BlobPromise {
  readonly digest?: string;
  /** Of the whole. */
  readonly sizeBytes?: number;
  /** A raw disk, although nothing in it shows that it is one. */
  readonly raw?: boolean;
  /** Where what is sent begins: an upload that broke off goes on. Default 0. */
  readonly offset?: number;
}

export interface Channel {
  /** Where it leads, for messages. */
  readonly address: string;
  call<Name extends HttpMethodName>(name: Name, request: RequestOf<Name>, call: ChannelCall): Promise<ResponseOf<Name>>;
  /** Resolves when the node has accepted the stream. */
  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    call: ChannelStream<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>>;
  health(call: ChannelCall): Promise<Health>;
  /** Channels to other nodes, with the same right. */
  toOthers(nodes: readonly NodePlace[]): Channel[];
  uploadBlob(chunks: AsyncIterable<Uint8Array>, promise: BlobPromise, call: ChannelCall): Promise<StoredBlob>;
  close(): void;
}
