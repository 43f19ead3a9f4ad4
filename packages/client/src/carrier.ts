/** What brings calls to one node and the answers back. There are two: HTTP(S), and the RPC lane between nodes. */
import type {
  MethodName,
  RequestOf,
  ResponseOf,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";
import type { HttpMethodName } from "./routes.ts";

export interface CarrierCall {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly stale?: boolean;
  readonly ifMatchIndex?: number;
  /** The same over all retries of a write. */
  readonly idempotencyKey?: string;
}

export interface CarrierStream<Name extends StreamName> {
  /** For the opening. */
  readonly timeoutMs: number;
  /** Ends the stream when it aborts. */
  readonly signal?: AbortSignal;
  readonly input?: AsyncIterable<StreamInputOf<Name>>;
}

/** What the node is told: a little less than the caller waits, so that its reason arrives instead of silence. */
export function nodeTimeoutMs({ timeoutMs }: Pick<CarrierCall, "timeoutMs">): number {
  return Math.max(1, Math.floor(timeoutMs - Math.min(answerMarginMs, timeoutMs / 10)));
}

const answerMarginMs = 500;

export interface Health {
  readonly healthy: true;
  readonly nodeId: number;
  readonly clusterId: string;
  /** Serving with a known leader, and caught up. */
  readonly ready: boolean;
  /** Why it is not ready; empty when it is. */
  readonly reason: string;
}

export interface UploadedBlob {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly nodeId: number;
}

export interface Carrier {
  /** Where it leads, for messages. */
  readonly address: string;
  call<Name extends HttpMethodName & MethodName>(
    name: Name,
    request: RequestOf<Name>,
    call: CarrierCall,
  ): Promise<ResponseOf<Name>>;
  /** Resolves when the node has accepted the stream. */
  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    call: CarrierStream<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>>;
  health(call: CarrierCall): Promise<Health>;
  uploadBlob(chunks: AsyncIterable<Uint8Array>, call: CarrierCall): Promise<UploadedBlob>;
  close(): void;
}
