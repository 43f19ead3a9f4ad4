/** MiB per second from one process to another: over the bulk lane, and over a bare stream of Iroh. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createBulkLane } from "@blixard/transport/bulk";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { benchKey, type SourceAddress } from "./source-process.ts";

export interface RateOptions {
  readonly rounds: number;
  readonly laneMiB: number;
  readonly irohMiB: number;
}

export interface Rates {
  /** Until every chunk was received, verified and written. */
  readonly lane: number[];
  /** The same with the sync of the disk. */
  readonly durable: number[];
  readonly iroh: number[];
}

const mebibyte = 1024 * 1024;
const main = fileURLToPath(new URL("../main.js", import.meta.url));

/** Rounds of both, one after the other, so that what else the machine does hits both. */
export async function measureRates(options: RateOptions): Promise<Rates> {
  const child = spawn(process.execPath, [main, "bulk-source", String(options.laneMiB)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const directory = await mkdtemp(join(tmpdir(), "blixard-bulk-"));
  try {
    const source = await addressOf(child);
    const rates: Rates = { lane: [], durable: [], iroh: [] };
    for (let round = 0; round <= options.rounds; round++) {
      const lane = await laneRate(source, join(directory, "object"));
      const iroh = await irohRate(source, options.irohMiB);
      // The first round warms up, and makes the manifest.
      if (round === 0) continue;
      rates.lane.push(lane.verified);
      rates.durable.push(lane.durable);
      rates.iroh.push(iroh);
    }
    return rates;
  } finally {
    child.stdin?.end();
    await rm(directory, { recursive: true, force: true });
  }
}

function addressOf(child: ChildProcess): Promise<SourceAddress> {
  return new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the source ended with ${code}`)));
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line) as SourceAddress));
  });
}

async function laneRate({ endpointId, tcp }: SourceAddress, path: string) {
  const peer = { nodeId: 2, endpointId, addresses: [tcp] };
  const lane = createBulkLane({
    ...{ clock: systemClock, logger: silentLogger, metrics: discardMetrics, secretKey: benchKey("reader") },
    peers: { peer: () => peer },
    providers: { image: async () => undefined, snapshot: async () => undefined },
    call: () => Promise.reject(new Error("there is no RPC lane here")),
  });
  await rm(path, { force: true });
  const startMs = performance.now();
  let verifiedMs = startMs;
  const { sizeBytes } = await lane.fetch({
    name: { kind: "image", id: "object" },
    ...{ sources: [2], sizeBytesMax: Number.MAX_SAFE_INTEGER, path, signal: new AbortController().signal },
    onProgress: () => {
      verifiedMs = performance.now();
    },
  });
  const durableMs = performance.now();
  await lane.close();
  const rate = (endMs: number) => ((sizeBytes / mebibyte) * 1000) / (endMs - startMs);
  return { verified: rate(verifiedMs), durable: rate(durableMs) };
}

async function irohRate({ endpointId, udp }: SourceAddress, wantedMiB: number): Promise<number> {
  const options = { secretKey: benchKey("reader"), bind: "127.0.0.1:0", relay: false, discovery: false };
  const adapter = createIrohAdapter(options);
  await adapter.listen(() => {});
  const signal = new AbortController().signal;
  const connection = await adapter.connect({ endpointId, addresses: udp }, "blixard/rpc/1", { signal });
  const stream = await connection.openStream();
  const startMs = performance.now();
  await stream.write(Buffer.from(String(wantedMiB * mebibyte)));
  let received = 0;
  for (let bytes = await stream.read(64 * 1024); bytes !== undefined; bytes = await stream.read(64 * 1024)) {
    received += bytes.length;
  }
  const seconds = (performance.now() - startMs) / 1000;
  await adapter.close();
  return received / mebibyte / seconds;
}
