/** What a bulk transfer between two nodes of a loaded cluster does to the latency of writes. */
import { createHash } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { ProcessCluster } from "@blixard/testing";
import { nanoGuestElf } from "@blixard/vm-manager";
import { measureWrites, type WriteRun } from "../cluster/writes.ts";

export interface BesideWrites {
  readonly alone: WriteRun;
  readonly beside: WriteRun;
  /** Over the time in which the images were on their way. */
  readonly bulkMiBPerSecond: number;
  readonly bulkMiB: number;
}

const mebibyte = 1024 * 1024;
const sourceNode = 1;

/** Images are stored at one node; then VMs that need them start at another, while clients write to all nodes. */
export async function measureBesideWrites(
  cluster: ProcessCluster,
  options: {
    readonly clients: number;
    readonly durationMs: number;
    readonly images: number;
    readonly imageMiB: number;
  },
): Promise<BesideWrites> {
  const { clients, durationMs, images, imageMiB } = options;
  for (let image = 0; image < images; image++) await storeImage(cluster, `bulk-${image}`, imageMiB);
  const alone = await measureWrites(cluster, clients, durationMs);
  const client = cluster.client();
  for (const { id } of cluster.nodes) if (id !== cluster.nodes.length) await client.nodes.cordon(id, true);
  const startMs = performance.now();
  const fetching = Promise.all(
    Array.from({ length: images }, async (_, image) => {
      await client.vms.create(`vm-${image}`, { image: `bulk-${image}`, memoryMiB: 64 });
      await client.vms.waitForPhase(`vm-${image}`, ["Running"], { timeoutMs: 120_000 });
    }),
  ).then(() => performance.now() - startMs);
  const beside = await measureWrites(cluster, clients, durationMs, fetching);
  const bulkMs = await fetching;
  client.close();
  const bulkMiB = images * imageMiB;
  return { alone, beside, bulkMiB, bulkMiBPerSecond: (bulkMiB * 1000) / bulkMs };
}

async function storeImage(cluster: ProcessCluster, name: string, sizeMiB: number): Promise<void> {
  const client = cluster.client(sourceNode);
  async function* content(): AsyncIterable<Uint8Array> {
    const first = Buffer.alloc(mebibyte);
    first.set(nanoGuestElf());
    yield first;
    const block = Buffer.alloc(mebibyte);
    for (let at = 0; at < mebibyte; at += 32) createHash("sha256").update(`${name} ${at}`).digest().copy(block, at);
    for (let piece = 1; piece < sizeMiB; piece++) yield block;
  }
  const { digest, sizeBytes } = await client.images.uploadBlob(content());
  const blobs = [{ role: "kernel" as const, digest, sizeBytes }];
  await client.images.put({ name, format: "multiboot", blobs, sources: [sourceNode] });
  client.close();
}
