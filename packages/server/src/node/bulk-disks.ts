/** Disks of VMs over the bulk lane. What one node has of them is found at no other one, and is read while nobody writes to it. */
import type { BulkLane } from "@blixard/bulk";
import { diskPartName } from "@blixard/cluster";
import type { FetchDiskPart } from "@blixard/vm-manager";

const mebibyte = 1024 ** 2;

export function createDiskFetch(lane: Pick<BulkLane, "fetch">, mebibytesPerSecondMax: number): FetchDiskPart {
  return async ({ source, sizeBytesMax, part, ...key }, path, options) => {
    const name = { kind: "disk", id: diskPartName(key, part) } as const;
    const paced = mebibytesPerSecondMax === 0 ? {} : { bytesPerSecondMax: mebibytesPerSecondMax * mebibyte };
    await lane.fetch({ name, sources: [source], sizeBytesMax, path, sparse: true, ...paced, ...options });
  };
}
