/** The ports of the bulk lane: what a node gives to others, the ways to a peer, and what a transfer asks for. */
import type { Peer } from "@blixard/transport";

export const bulkKinds = ["image", "snapshot"] as const;
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

/** What a node holds of one kind. */
export type OpenBulkObject = (id: string) => Promise<BulkObject | undefined>;
export type BulkProviders = Readonly<Record<BulkKind, OpenBulkObject>>;

/** The members, as the transport knows them. */
export interface BulkPeers {
  /** By node id, or by the key that a connection proved. Undefined for whoever is no member now. */
  peer(key: number | string): Peer | undefined;
  /** Tells from now on when a member, by its key, does not answer any more. */
  onBroken(told: (endpointId: string) => void): void;
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

/** One way to one peer. */
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

/** Which way is taken to a peer, and why it is not a direct one. */
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
  /** The hash of its manifest, where that is known: then nobody can lie about it. */
  readonly contentId?: string;
  /** The file that receives it; what it holds already is checked, and kept when it is right. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Called with the bytes that are there and verified, again and again. */
  readonly onProgress?: (verifiedBytes: number) => void;
}

export interface BulkFetched {
  readonly contentId: string;
  readonly sizeBytes: number;
  /** The nodes that vouched for the manifest. */
  readonly sources: readonly number[];
}
