/** What a call and a stream of the client take beside their request. */
import type {
  HttpMethodName,
  RequestOf,
  ResponseOf,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";

export interface CallOptions {
  /** Time for this call, retries included. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Reads only: the local state of the node that answers, perhaps old. */
  readonly stale?: boolean;
  /** Writes only: refuse with PRECONDITION_FAILED unless the object was last changed at this index. */
  readonly ifMatchIndex?: number;
  /** Writes only: the same key applies once. Default: a fresh one per call, kept over its retries. */
  readonly idempotencyKey?: string;
  /**
   * With a key of your own: an index of the log from before you used it first, which `knownIndex` tells. Where a use of it may
   * be forgotten, the call fails with REQUEST_FORGOTTEN. Without it a key that is used again after 10,000 changes of the
   * cluster is a new one.
   */
  readonly sinceIndex?: number;
}

export interface StreamOptions<Name extends StreamName> {
  /** Time for the opening, retries included. */
  readonly timeoutMs?: number;
  /** Ends the stream when it aborts, at any time. */
  readonly signal?: AbortSignal;
  /** The local state of the node that answers, perhaps old. */
  readonly stale?: boolean;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}

export type CallFunction = <Name extends HttpMethodName>(
  name: Name,
  request: RequestOf<Name>,
  options?: CallOptions,
) => Promise<ResponseOf<Name>>;

export type StreamFunction = <Name extends StreamName>(
  name: Name,
  request: StreamRequestOf<Name>,
  options?: StreamOptions<Name>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;
