/**
 * The requests of the lane, as paths: `/1/image/<id>/manifest` and `/1/image/<id>/<content id>/<offset>-<length>`. With the
 * content id in it, a node that holds something else under the name says that it does not hold it.
 */
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkName } from "./bulk-types.ts";
import type { ChunkPlace } from "./manifest.ts";

export interface BulkRequest {
  readonly name: BulkName;
  /** Undefined: the manifest is asked for. */
  readonly chunk: { readonly contentId: string; readonly place: ChunkPlace } | undefined;
}

const pattern = /^\/1\/(disk|image|snapshot)\/([0-9a-z-]{1,80})\/(?:manifest|([0-9a-f]{64})\/(\d{1,15})-(\d{1,8}))$/;

export function manifestPath({ kind, id }: BulkName): string {
  return `/1/${kind}/${id}/manifest`;
}

export function chunkPath({ kind, id }: BulkName, contentId: string, { offset, length }: ChunkPlace): string {
  return `/1/${kind}/${id}/${contentId}/${offset}-${length}`;
}

/** Undefined for what is no request. */
export function parsePath(path: string): BulkRequest | undefined {
  const [, kind, id, contentId, offset, length] = pattern.exec(path) ?? [];
  if (kind === undefined || id === undefined) return undefined;
  const name = { kind, id } as BulkName;
  if (contentId === undefined) return { name, chunk: undefined };
  const place = { offset: Number(offset), length: Number(length) };
  return place.length > 0 && place.length <= bulkLimits.chunkBytesMax
    ? { name, chunk: { contentId, place } }
    : undefined;
}
