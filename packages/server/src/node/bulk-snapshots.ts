/**
 * Snapshots of Raft over the bulk lane. What arrives is kept in a file until all of it is there, so that a transfer goes on
 * where it was, after a loss of the source and after a restart of this node.
 */
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BulkLane, OpenBulkObject } from "@blixard/bulk";
import { BlixardError, fromHex, toHex } from "@blixard/common";
import type { SnapshotCarrier, SnapshotMeta, SnapshotStore } from "@blixard/raft";

export interface BulkSnapshotsDeps {
  readonly lane: Pick<BulkLane, "fetch" | "manifest">;
  /** For the file that receives; nothing else is kept there. */
  readonly directory: string;
  /** The other members: whoever has the same snapshot may give parts of it. */
  readonly members: () => readonly number[];
}

/** A reference is this byte and the content id. */
const referenceVersion = 1;
const referenceBytes = 33;
const readBytes = 256 * 1024;

/** What a node gives of its newest snapshot. */
export function snapshotObjects(snapshots: SnapshotStore): OpenBulkObject {
  return async (id) => {
    const meta = await snapshots.latest();
    if (meta === undefined || id !== idOf(meta)) return undefined;
    return {
      sizeBytes: meta.sizeBytes,
      read: async (offset, length) => {
        const bytes = await snapshots.read(meta.index, offset, length);
        if (bytes.length === length) return bytes;
        throw new BlixardError("STORAGE_CORRUPT", `the snapshot at ${meta.index} is cut off`);
      },
    };
  };
}

export function createSnapshotCarrier(deps: BulkSnapshotsDeps): SnapshotCarrier {
  return {
    offer: async (meta) => {
      const { contentId } = await deps.lane.manifest({ kind: "snapshot", id: idOf(meta) });
      const reference = new Uint8Array(referenceBytes);
      reference[0] = referenceVersion;
      reference.set(fromHex(contentId) ?? [], 1);
      return reference;
    },
    fetch: (from, meta, reference, { signal }) => fetchSnapshot(deps, from, meta, reference, signal),
  };
}

async function* fetchSnapshot(
  deps: BulkSnapshotsDeps,
  from: number,
  meta: SnapshotMeta,
  reference: Uint8Array,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  if (reference[0] !== referenceVersion || reference.length !== referenceBytes) {
    throw new BlixardError("UNSUPPORTED_VERSION", "the snapshot is offered in a way that this release does not know");
  }
  const contentId = toHex(reference.subarray(1));
  const id = idOf(meta);
  const path = join(deps.directory, `${id}-${contentId}`);
  await keepOnly(deps.directory, path);
  const sources = [from, ...deps.members().filter((member) => member !== from)];
  const name = { kind: "snapshot", id } as const;
  await deps.lane.fetch({ name, contentId, sources, sizeBytesMax: meta.sizeBytes, path, signal });
  for await (const chunk of createReadStream(path, { highWaterMark: readBytes })) yield chunk as Buffer;
  await rm(path, { force: true });
}

/** Removes what is left of other transfers. */
async function keepOnly(directory: string, path: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(directory)) {
    const other = join(directory, entry);
    if (other !== path) await rm(other, { recursive: true, force: true });
  }
}

/** Two nodes that have a snapshot of the same entry have the same state in it. */
function idOf({ term, index }: Pick<SnapshotMeta, "term" | "index">): string {
  return `${term}-${index}`;
}
