/** The ports of the bulk lane: what a node gives to others, the routes to a peer, and what a transfer asks for. */
import type { Peer } from "@blixard/transport";

export const bulkKinds = ["disk", "image", "snapshot"] as const;
export type BulkKind = (typeof bulkKinds)[number];

/** Names content that never changes; which bytes it has says its manifest. */
export interface BulkName {
  readonly kind: BulkKind;
  /** Lower-case letters, digits and `-`; at most 80. */
  readonly id: string;
}

export interface BulkObject {
  readonly sizeBytes: number;
  /** Exactly `length` bytes. @throws NOT_FOUND when the object is gone */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** What a node holds of one kind, for the member with this key; undefined: for the node itself. */
export type OpenBulkObject = (id: string, reader: string | undefined) => Promise<BulkObject | undefined>;
export type BulkProviders = Partial<Record<BulkKind, OpenBulkObject>>;

/** Answers one call of the RPC lane. `remote.endpointId` is the key that the connection of the caller proved. */
export type BulkRpcHandler = (call: {
  readonly payload: Uint8Array;
  readonly remote: { readonly endpointId: string };
}) => Promise<Uint8Array>;

/** The members, as the transport knows them. */
export interface BulkPeers {
  /** By node id, or by the key that a connection proved. Undefined for a key or an id that is no member's now. */
  peer(key: number | string): Peer | undefined;
  /** Calls the listener, with the key of the member, whenever a member does not answer any more. */
  onBroken(listener: (endpointId: string) => void): void;
}

/** `direct`: HTTP/2 with the bind port. `iroh`: between workers. `rpc`: calls of the RPC lane, over whatever carries it. */
export type BulkRoute = "direct" | "iroh" | "rpc";

/** How a worker binds an Iroh endpoint of its own: as the node does, on a port that the system chooses. */
export interface BulkIrohSettings {
  /** `IP:PORT`; only the IP address counts. */
  readonly bind: string;
  readonly relay: boolean;
  readonly relayUrls?: readonly string[];
  readonly discovery: boolean;
}

/** An open channel to one peer, over one route. */
export interface BulkChannel {
  readonly route: BulkRoute;
  readonly closed: boolean;
  /**
   * The answer to a path of the lane, at most `bytesMax` bytes.
   * @throws NOT_FOUND, OVERLOADED (come again), PERMISSION_DENIED, UNREACHABLE, DEADLINE_EXCEEDED
   */
  request(path: string, options: BulkRequestOptions): Promise<Uint8Array>;
  close(): void;
}

export interface BulkRequestOptions {
  readonly bytesMax: number;
  /** Memory of at least `bytesMax` bytes that the answer is put into, instead of new memory. */
  readonly into?: Uint8Array;
  /** Milliseconds without a byte. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/** The route to a peer, and why it is not the direct one. */
export interface BulkRouteStatus {
  readonly nodeId: number;
  readonly route: BulkRoute | "none";
  readonly reason: string | null;
}

export interface BulkFetch {
  readonly name: BulkName;
  /** Nodes that may hold it, the best first. */
  readonly sources: readonly number[];
  readonly sizeBytesMax: number;
  /** The hash of its manifest, where that is known: no source can then give other content. */
  readonly contentId?: string;
  /** The file that receives it. Chunks that it holds already are checked, and kept when they are right. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Called after each chunk with the number of bytes that are in the file and verified. */
  readonly onProgress?: (verifiedBytes: number) => void;
  /** The file takes room only where the object is not zero, and zeros are not fetched. Default: it is filled as it comes. */
  readonly sparse?: boolean;
  /** Called once with the bytes that are to come, before the first of them. What it throws ends the transfer. */
  readonly onMissing?: (missingBytes: number) => Promise<void>;
  /** So much comes in a second at most. Default: as much as the way allows. */
  readonly bytesPerSecondMax?: number;
}

export interface BulkFetched {
  readonly contentId: string;
  readonly sizeBytes: number;
  /** The nodes that gave the manifest. */
  readonly sources: readonly number[];
}
