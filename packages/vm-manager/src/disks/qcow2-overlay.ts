/**
 * Writes the qcow2 overlay of a disk (docs/interop/qcow2.txt of QEMU, version 3). An own writer, so that no program with
 * the rights of the manager reads an image: who starts the VM names the base and its format anew each time.
 *
 *     cluster 0   header, the format of the base, its name
 *     cluster 1   refcount table: one entry, for the block
 *     cluster 2   refcount block: 16 bits a cluster, which is enough for the clusters of this file
 *     cluster 3.. L1 table, empty: every cluster is read from the base
 */
import { open } from "node:fs/promises";
import { assert } from "@blixard/common";

export interface Overlay {
  readonly virtualBytes: number;
  /** A name in the directory of the overlay. */
  readonly baseName: string;
  readonly baseFormat: "raw" | "qcow2";
}

export const qcow2Magic = 0x5146_49fb;
const clusterBits = 16;
const clusterBytes = 2 ** clusterBits;
/** One entry of the L1 table is an L2 table of one cluster, with eight bytes for each cluster. */
const bytesPerL1Entry = (clusterBytes / 8) * clusterBytes;
const headerBytes = 104;
const formatExtension = 0xe279_2aca;
const l1FirstCluster = 3;
/** 2 ** 4 bits. */
const refcountOrder = 4;

/** Makes the file, durably; it must not be there. */
export async function writeOverlay(path: string, overlay: Overlay): Promise<void> {
  const { head, sizeBytes } = overlayHead(overlay);
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(head);
    await file.truncate(sizeBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function overlayHead({ virtualBytes, baseName, baseFormat }: Overlay): {
  readonly head: Uint8Array;
  readonly sizeBytes: number;
} {
  const l1Entries = Math.ceil(virtualBytes / bytesPerL1Entry);
  const clusters = l1FirstCluster + Math.ceil((l1Entries * 8) / clusterBytes);
  assert(clusters <= clusterBytes / 2, "one refcount block counts all clusters");
  const head = new Uint8Array(l1FirstCluster * clusterBytes);
  const view = new DataView(head.buffer);
  const text = new TextEncoder();
  const format = text.encode(baseFormat);
  const name = text.encode(baseName);
  const extensionBytes = 8 + 8 * Math.ceil(format.length / 8) + 8;
  const nameOffset = headerBytes + extensionBytes;
  view.setUint32(0, qcow2Magic);
  view.setUint32(4, 3);
  view.setBigUint64(8, BigInt(nameOffset));
  view.setUint32(16, name.length);
  view.setUint32(20, clusterBits);
  view.setBigUint64(24, BigInt(virtualBytes));
  view.setUint32(36, l1Entries);
  view.setBigUint64(40, BigInt(l1FirstCluster * clusterBytes));
  view.setBigUint64(48, BigInt(clusterBytes));
  view.setUint32(56, 1);
  view.setUint32(96, refcountOrder);
  view.setUint32(100, headerBytes);
  view.setUint32(headerBytes, formatExtension);
  view.setUint32(headerBytes + 4, format.length);
  head.set(format, headerBytes + 8);
  head.set(name, nameOffset);
  view.setBigUint64(clusterBytes, BigInt(2 * clusterBytes));
  for (let cluster = 0; cluster < clusters; cluster++) view.setUint16(2 * clusterBytes + 2 * cluster, 1);
  return { head, sizeBytes: clusters * clusterBytes };
}
