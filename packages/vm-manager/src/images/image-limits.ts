/** Limits of what is inspected and converted. The unit stands last in each name. */
import { limits } from "@blixard/protocol";

export const imageLimits = {
  /** As large as a disk may be. */
  virtualBytesMax: limits.vmDiskGiBMax * 1024 ** 3,
  clusterBitsMin: 12,
  clusterBitsMax: 21,
  /** Bytes that the compressed parts of an image may become, for each byte of its file; and what is free beside that. */
  expansionMax: 100,
  expansionFreeBytes: 64 * 1024 ** 2,
  /** Of the tables of a file, which are read whole. */
  tableBytesMax: 32 * 1024 ** 2,
  headerExtensionsMax: 32,
  descriptorBytesMax: 64 * 1024,
  ovaEntriesMax: 64,
  ovfBytesMax: 1024 ** 2,
  /** What the signature of any known format lies in: the superblock of btrfs is the last one. */
  headBytes: 68 * 1024,
} as const;
