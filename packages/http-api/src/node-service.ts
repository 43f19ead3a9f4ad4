/** What the HTTP API needs of a node. The cluster node satisfies it; tests give a small one of their own. */
import type {
  Actor,
  CallerAccess,
  CallMeta,
  MethodName,
  RequestOf,
  ResponseOf,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";

/** Who a bearer token stands for. */
export interface Caller {
  readonly actor: Actor;
  readonly access: CallerAccess;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reason: string;
}

export interface NodeService {
  /** Validates, authorises, forwards and runs. @throws BlixardError */
  call<Name extends MethodName>(name: Name, request: RequestOf<Name>, meta: CallMeta): Promise<ResponseOf<Name>>;
  /** Opens a stream; `signal` must abort when its reader has gone. @throws BlixardError */
  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: { readonly signal: AbortSignal; readonly input?: AsyncIterable<StreamInputOf<Name>> },
  ): Promise<AsyncIterable<StreamOutputOf<Name>>>;
  /** The holder of a token; undefined when nobody holds it. @throws MISDIRECTED, UNAVAILABLE */
  authenticate(token: string): Caller | undefined;
  /** Serving with a known leader, and caught up. */
  ready(): Readiness;
}

/** What the sender of a blob says of it beforehand; `offset`: where what comes begins. */
export interface BlobPromise {
  readonly digest?: string;
  readonly offset?: number;
  readonly wholeBytes?: number;
  readonly raw?: boolean;
}

/** The image store of this node, for uploads. */
export interface BlobStore {
  put(
    chunks: AsyncIterable<Uint8Array>,
    promise?: BlobPromise,
  ): Promise<{ readonly digest: string; readonly sizeBytes: number }>;
}
