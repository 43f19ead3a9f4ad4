/**
 * Answers the requests of other nodes, over whichever route they came: checks who asks, bounds the number of chunks in
 * memory, and makes each manifest once.
 */
import { BlixardError, notApplied } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";
import { type BulkRequest, parsePath } from "./bulk-path.ts";
import type { BulkName, BulkObject, BulkPeers, BulkProviders, BulkRoute } from "./bulk-types.ts";
import { type Manifest, makeManifest } from "./manifest.ts";
import type { BulkMetrics, BulkRefusal } from "./metrics.ts";
import type { SnapshotBudget } from "./snapshot-budget.ts";

export interface BulkRequestHandlerDeps {
  readonly peers: Pick<BulkPeers, "peer">;
  readonly providers: Readonly<BulkProviders>;
  readonly metrics: BulkMetrics;
  readonly snapshotBudget: Pick<SnapshotBudget, "takes">;
}

/** A part of an answer. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

export interface IncomingRequest {
  readonly endpointId: string | undefined;
  readonly path: string;
  /** Default: the whole answer. */
  readonly piece?: Piece;
  readonly route: BulkRoute;
}

/** Takes the bytes of an answer, and the length of the whole; resolves when they are out of this node's memory. */
export type DeliverBulk = (bytes: Uint8Array, wholeBytes: number) => Promise<void>;

export function isPiece({ offset, length }: Piece): boolean {
  return Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length > 0;
}

export class BulkRequestHandler {
  readonly #deps: BulkRequestHandlerDeps;
  /** In the order of their use, the latest last. They never go stale, because the content of a name never changes. */
  readonly #manifests = new Map<string, Promise<Manifest>>();
  #making = 0;
  #serving = 0;

  constructor(deps: BulkRequestHandlerDeps) {
    this.#deps = deps;
  }

  /** Says whether the holder of this key may read now, and counts each refusal. */
  admits(endpointId: string | undefined): boolean {
    if (endpointId !== undefined && this.#deps.peers.peer(endpointId) !== undefined) return true;
    this.refused("unknown_peer");
    return false;
  }

  refused(reason: BulkRefusal): void {
    this.#deps.metrics.refusals.add(1, { reason });
  }

  /** @throws PERMISSION_DENIED, INVALID_ARGUMENT, NOT_FOUND, OVERLOADED */
  async answer(incoming: IncomingRequest, deliver: DeliverBulk): Promise<void> {
    // Asked for each request: a removed member reads nothing from that moment on.
    if (!this.admits(incoming.endpointId)) throw new BlixardError("PERMISSION_DENIED", "only members may read");
    const request = parsePath(incoming.path);
    if (request === undefined) throw this.#badRequest("not a request of the bulk lane");
    if (this.#serving >= bulkLimits.chunksServedMax) throw busy("this node serves many chunks");
    this.#serving++;
    try {
      const object = await this.#open(request.name, incoming.endpointId);
      await this.#deliver(request, object, incoming, deliver);
    } finally {
      this.#serving--;
    }
  }

  async #deliver({ name, chunk }: BulkRequest, object: BulkObject, incoming: IncomingRequest, deliver: DeliverBulk) {
    const manifest = await this.#manifestOf(name, object);
    const { piece = { offset: 0, length: bulkLimits.manifestBytesMax } } = incoming;
    if (chunk === undefined) {
      const { bytes } = manifest;
      await deliver(bytes.subarray(piece.offset, piece.offset + piece.length), bytes.length);
      return;
    }
    if (chunk.contentId !== manifest.contentId) throw notHere(name);
    const { offset, length } = chunk.place;
    if (offset + length > object.sizeBytes) throw this.#badRequest("the object ends before these bytes");
    const wanted = Math.min(piece.length, length - piece.offset);
    if (wanted <= 0) throw this.#badRequest("the chunk ends before these bytes");
    this.#assertInBudget(name, incoming.endpointId ?? "", wanted, object.sizeBytes);
    await deliver(await object.read(offset + piece.offset, wanted), length);
    this.#deps.metrics.bytes.add(wanted, { direction: "sent", route: incoming.route });
  }

  /** @throws OVERLOADED for who has read too much of snapshots lately */
  #assertInBudget({ kind }: BulkName, endpointId: string, bytes: number, wholeBytes: number): void {
    if (kind !== "snapshot" || this.#deps.snapshotBudget.takes(endpointId, bytes, wholeBytes)) return;
    this.refused("over_budget");
    throw busy("this peer has read enough of snapshots for now");
  }

  /** The manifest of what this node holds. @throws NOT_FOUND, OVERLOADED */
  async manifest(name: BulkName): Promise<Manifest> {
    return await this.#manifestOf(name, await this.#open(name, undefined));
  }

  async #open(name: BulkName, reader: string | undefined): Promise<BulkObject> {
    const object = await this.#deps.providers[name.kind]?.(name.id, reader);
    if (object === undefined) throw notHere(name);
    return object;
  }

  #manifestOf({ kind, id }: BulkName, object: BulkObject): Promise<Manifest> {
    const key = `${kind}/${id}`;
    const known = this.#manifests.get(key);
    if (known === undefined && this.#making >= bulkLimits.manifestsMadeMax) {
      return Promise.reject(busy("this node reads other objects for their manifests"));
    }
    const manifest = known ?? this.#make(key, object);
    this.#manifests.delete(key);
    this.#manifests.set(key, manifest);
    for (const oldest of this.#manifests.keys()) {
      if (this.#manifests.size <= bulkLimits.manifestsCachedMax) break;
      this.#manifests.delete(oldest);
    }
    return manifest;
  }

  #badRequest(why: string): BlixardError {
    this.refused("bad_request");
    return new BlixardError("INVALID_ARGUMENT", why);
  }

  #make(key: string, object: BulkObject): Promise<Manifest> {
    this.#making++;
    const manifest = makeManifest(object).finally(() => {
      this.#making--;
    });
    manifest.catch(() => this.#manifests.delete(key));
    return manifest;
  }
}

function notHere({ kind, id }: BulkName): BlixardError {
  return new BlixardError("NOT_FOUND", `this node does not hold that ${kind} ${id}`);
}

function busy(why: string): BlixardError {
  return notApplied("OVERLOADED", why);
}
