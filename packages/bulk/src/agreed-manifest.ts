/**
 * Finds the manifest of a name. Where the content id is known, the first manifest with that id is taken. Where it is not,
 * all sources are asked, and the manifest that most of them give is tried first: the caller checks the whole object in the
 * end, and tries again without the sources that gave a wrong one.
 */
import { BlixardError, type Clock, errorCodeOf, linkSignal, type Timer } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";
import { manifestPath } from "./bulk-path.ts";
import type { BulkFetch } from "./bulk-types.ts";
import { type Manifest, readManifest } from "./manifest.ts";
import type { Sources } from "./sources.ts";

export interface AgreedManifest {
  readonly manifest: Manifest;
  /** The nodes that gave this manifest. */
  readonly sources: readonly number[];
}

/** @throws NOT_FOUND when all sources answer and none holds it, UNAVAILABLE when none answers well */
export async function agreeOnManifest(clock: Clock, sources: Sources, wanted: BulkFetch): Promise<AgreedManifest> {
  const byContentId = new Map<string, { readonly manifest: Manifest; readonly sources: number[] }>();
  const errors: unknown[] = [];
  let timer: Timer | undefined;
  /** Aborts when enough sources have answered. */
  const asking = linkSignal(wanted.signal);
  const asked = sources.alive().map(async (nodeId) => {
    try {
      const manifest = await ask(sources, nodeId, wanted, asking.signal);
      const same = byContentId.get(manifest.contentId);
      if (same === undefined) byContentId.set(manifest.contentId, { manifest, sources: [nodeId] });
      else same.sources.push(nodeId);
      if (wanted.contentId !== undefined) asking.abort();
      else timer ??= clock.setTimer(bulkLimits.agreementMs, () => asking.abort());
    } catch (error) {
      if (!asking.signal.aborted) errors.push(error);
    }
  });
  await Promise.all(asked);
  timer?.cancel();
  asking.release();
  wanted.signal.throwIfAborted();
  const [most] = [...byContentId.values()].sort((a, b) => b.sources.length - a.sources.length);
  if (most !== undefined) return most;
  const nobodyHasIt = errors.length > 0 && errors.every((error) => errorCodeOf(error) === "NOT_FOUND");
  const { kind, id } = wanted.name;
  throw new BlixardError(nobodyHasIt ? "NOT_FOUND" : "UNAVAILABLE", `no source gives a manifest of ${kind} ${id}`, {
    cause: errors[0],
  });
}

async function ask(sources: Sources, nodeId: number, wanted: BulkFetch, signal: AbortSignal): Promise<Manifest> {
  const bytes = await sources.request(nodeId, manifestPath(wanted.name), {
    bytesMax: bulkLimits.manifestBytesMax,
    stallMs: bulkLimits.manifestTimeoutMs,
    signal,
  });
  try {
    const manifest = readManifest(bytes, wanted.sizeBytesMax);
    if (wanted.contentId === undefined || manifest.contentId === wanted.contentId) return manifest;
    throw new BlixardError("STORAGE_CORRUPT", `node ${nodeId} has another ${wanted.name.kind} under this name`);
  } catch (error) {
    sources.drop(nodeId, "bad_manifest");
    throw error;
  }
}
