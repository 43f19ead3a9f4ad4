/** Image blobs over the bulk lane. Their names are their SHA-256, which the image store checks in the end. */

import type { BulkLane } from "@blixard/bulk";
import { limits } from "@blixard/protocol";
import type { FetchBlob } from "@blixard/vm-manager";

export function createBlobFetch(lane: Pick<BulkLane, "fetch" | "reportBadSources">): FetchBlob {
  return async ({ digest, sources }, path, signal) => {
    const name = { kind: "image", id: digest } as const;
    const fetched = await lane.fetch({ name, sources, sizeBytesMax: limits.imageBlobBytesMax, path, signal });
    return { sources: fetched.sources, reportBadSources: () => lane.reportBadSources(fetched.sources) };
  };
}
