/**
 * A qcow2 file made from the parts of a disk that have content (docs/interop/qcow2.txt of QEMU, version 3). Where each
 * thing stands follows from which parts there are, so that the same disk gives the same bytes each time, from any offset on.
 *
 *     cluster 0     header
 *     then          refcount table, refcount blocks, L1 table, L2 tables, and the data in the order of the disk
 */
import { limits } from "@blixard/protocol";
import { qcow2Magic } from "../disks/qcow2-overlay.ts";
import { refuseImage } from "./byte-source.ts";

export interface DiskParts {
  readonly virtualBytes: number;
  /** Of one cluster, and so of one part: a power of two. */
  readonly clusterBytes: number;
  /** The numbers of the clusters that have content, ascending. */
  readonly clusters: readonly number[];
  /** The content of the part with this place in `clusters`. */
  read(place: number): Promise<Uint8Array>;
}

interface Layout {
  readonly refcountTableClusters: number;
  readonly refcountBlocks: number;
  readonly l1Cluster: number;
  readonly l1Entries: number;
  readonly l2Cluster: number;
  /** The entries of the L1 table that have an L2 table. */
  readonly l2Tables: readonly number[];
  readonly dataCluster: number;
  readonly clusters: number;
}

const headerBytes = 104;
const refcountOrder = 4;
const copiedBit = 1n << 63n;

/** How long the file is. @throws INVALID_ARGUMENT when it would be longer than an image may be */
export function qcow2Bytes(disk: DiskParts): number {
  const sizeBytes = layoutOf(disk).clusters * disk.clusterBytes;
  if (sizeBytes > limits.imageBlobBytesMax) throw refuseImage(`unpacked it has ${sizeBytes} bytes, too many`);
  return sizeBytes;
}

/** The bytes of the file from `offset` on, a cluster at a time. */
export async function* qcow2Pieces(disk: DiskParts, offset = 0): AsyncIterable<Uint8Array> {
  const layout = layoutOf(disk);
  const first = Math.floor(offset / disk.clusterBytes);
  for (let cluster = first; cluster < layout.clusters; cluster++) {
    const bytes = await clusterAt(disk, layout, cluster);
    yield cluster === first ? bytes.subarray(offset % disk.clusterBytes) : bytes;
  }
}

function layoutOf({ virtualBytes, clusterBytes, clusters }: DiskParts): Layout {
  const perTable = clusterBytes / 8;
  const l1Entries = Math.ceil(virtualBytes / clusterBytes / perTable);
  const l2Tables = [...new Set(clusters.map((cluster) => Math.floor(cluster / perTable)))];
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  const others = 1 + l1Clusters + l2Tables.length + clusters.length;
  let [refcountTableClusters, refcountBlocks] = [0, 0];
  // The blocks count themselves too.
  for (let total = others; ; ) {
    refcountBlocks = Math.ceil(total / (clusterBytes / 2));
    refcountTableClusters = Math.ceil((refcountBlocks * 8) / clusterBytes);
    const next = others + refcountBlocks + refcountTableClusters;
    if (next === total) break;
    total = next;
  }
  const l1Cluster = 1 + refcountTableClusters + refcountBlocks;
  const l2Cluster = l1Cluster + l1Clusters;
  const dataCluster = l2Cluster + l2Tables.length;
  return {
    ...{ refcountTableClusters, refcountBlocks, l1Cluster, l1Entries, l2Cluster, l2Tables, dataCluster },
    clusters: dataCluster + clusters.length,
  };
}

async function clusterAt(disk: DiskParts, layout: Layout, cluster: number): Promise<Uint8Array> {
  if (cluster >= layout.dataCluster) return await disk.read(cluster - layout.dataCluster);
  const bytes = new Uint8Array(disk.clusterBytes);
  const view = new DataView(bytes.buffer);
  const blocksAt = 1 + layout.refcountTableClusters;
  if (cluster === 0) writeHeader(view, disk, layout);
  else if (cluster < blocksAt) {
    fill(view, cluster - 1, layout.refcountBlocks, (block) => BigInt((blocksAt + block) * disk.clusterBytes));
  } else if (cluster < layout.l1Cluster) {
    const from = (cluster - blocksAt) * (disk.clusterBytes / 2);
    const count = Math.min(disk.clusterBytes / 2, layout.clusters - from);
    for (let at = 0; at < count; at++) view.setUint16(at * 2, 1);
  } else if (cluster < layout.l2Cluster) writeL1(view, disk, layout, cluster - layout.l1Cluster);
  else writeL2(view, disk, layout, layout.l2Tables[cluster - layout.l2Cluster] ?? 0);
  return bytes;
}

function writeHeader(view: DataView, { virtualBytes, clusterBytes }: DiskParts, layout: Layout): void {
  view.setUint32(0, qcow2Magic);
  view.setUint32(4, 3);
  view.setUint32(20, Math.log2(clusterBytes));
  view.setBigUint64(24, BigInt(virtualBytes));
  view.setUint32(36, layout.l1Entries);
  view.setBigUint64(40, BigInt(layout.l1Cluster * clusterBytes));
  view.setBigUint64(48, BigInt(clusterBytes));
  view.setUint32(56, layout.refcountTableClusters);
  view.setUint32(96, refcountOrder);
  view.setUint32(100, headerBytes);
}

/** Writes the entries of a table of 64 bits that fall into this cluster of it. */
function fill(view: DataView, cluster: number, count: number, entryOf: (entry: number) => bigint): void {
  const from = (cluster * view.byteLength) / 8;
  for (let at = 0; at * 8 < view.byteLength && from + at < count; at++) view.setBigUint64(at * 8, entryOf(from + at));
}

function writeL1(view: DataView, { clusterBytes }: DiskParts, { l2Tables, l2Cluster }: Layout, cluster: number): void {
  const perCluster = clusterBytes / 8;
  l2Tables.forEach((entry, place) => {
    if (Math.floor(entry / perCluster) !== cluster) return;
    view.setBigUint64((entry % perCluster) * 8, BigInt((l2Cluster + place) * clusterBytes) | copiedBit);
  });
}

function writeL2(view: DataView, { clusterBytes, clusters }: DiskParts, { dataCluster }: Layout, table: number): void {
  const perTable = clusterBytes / 8;
  for (let place = firstFrom(clusters, table * perTable); place < clusters.length; place++) {
    const cluster = clusters[place] ?? 0;
    if (cluster >= (table + 1) * perTable) return;
    view.setBigUint64((cluster % perTable) * 8, BigInt((dataCluster + place) * clusterBytes) | copiedBit);
  }
}

/** The place of the first one that is not below `least`. */
function firstFrom(clusters: readonly number[], least: number): number {
  let [low, high] = [0, clusters.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((clusters[middle] ?? 0) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}
