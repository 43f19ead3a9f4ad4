/** MiB per second from one process to another: over each way of the bulk lane, and over a bare stream of Iroh. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type BulkRoute, createBulkLane } from "@blixard/bulk";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createTransport, type Transport } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { benchKey, onLoopback, type SourceAddress } from "./source-process.ts";

export interface RateOptions {
  readonly rounds: number;
  readonly laneMiB: number;
  /** Over a bare stream, and over the worker of the lane. */
  readonly irohMiB: number;
  /** In pieces over the RPC lane. */
  readonly rpcMiB: number;
}

export interface Rates {
  /** Until every chunk was received, verified and written. */
  readonly lane: number[];
  /** The same with the sync of the disk. */
  readonly durable: number[];
  /** The lane without a direct way, verified: between workers, and in pieces over the RPC lane. */
  readonly worker: number[];
  readonly pieces: number[];
  /** A bare stream. */
  readonly iroh: number[];
}

const mebibyte = 1024 * 1024;
const main = fileURLToPath(new URL("../main.js", import.meta.url));

/** Rounds of both, one after the other, so that what else the machine does hits both. */
export async function measureRates(options: RateOptions): Promise<Rates> {
  const child = spawn(process.execPath, [main, "bulk-source"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const adapter = createIrohAdapter({ secretKey: benchKey("reader"), ...onLoopback });
  const shared = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
  const transport = createTransport({ ...shared, adapter }, { nodeId: 1 });
  const directory = await mkdtemp(join(tmpdir(), "blixard-bulk-"));
  try {
    const source = await addressOf(child);
    await transport.start();
    const path = join(directory, "object");
    const over = (route: BulkRoute, sizeMiB: number) => laneRate({ source, transport, route, sizeMiB, path });
    const rates: Rates = { lane: [], durable: [], worker: [], pieces: [], iroh: [] };
    for (let round = 0; round <= options.rounds; round++) {
      const lane = await over("direct", options.laneMiB);
      const iroh = await irohRate(source, options.irohMiB);
      const worker = await over("iroh", options.irohMiB);
      const pieces = await over("rpc", options.rpcMiB);
      // The first round warms up, and makes the manifest.
      if (round === 0) continue;
      rates.lane.push(lane.verified);
      rates.durable.push(lane.durable);
      rates.iroh.push(iroh);
      rates.worker.push(worker.verified);
      rates.pieces.push(pieces.verified);
    }
    return rates;
  } finally {
    child.stdin?.end();
    await transport.close();
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

interface LaneRun {
  readonly source: SourceAddress;
  readonly transport: Transport;
  readonly route: BulkRoute;
  readonly sizeMiB: number;
  readonly path: string;
}

async function laneRate({ source, transport, route, sizeMiB, path }: LaneRun) {
  const { endpointId, tcp, rpc } = source;
  const nowhere = "127.0.0.1:1";
  const peer = { nodeId: 2, endpointId, addresses: [route === "direct" ? tcp : nowhere] };
  const lane = createBulkLane({
    ...{ clock: systemClock, logger: silentLogger, metrics: discardMetrics, secretKey: benchKey("reader") },
    peers: { peer: () => peer, onBroken: () => {} },
    providers: { image: async () => undefined, snapshot: async () => undefined },
    call: (_, ...given) => transport.call({ endpointId, addresses: rpc }, ...given),
    iroh: route === "iroh" ? onLoopback : undefined,
  });
  await rm(path, { force: true });
  let startMs = performance.now();
  let verifiedMs = startMs;
  const { sizeBytes } = await lane.fetch({
    name: { kind: "image", id: String(sizeMiB) },
    ...{ sources: [2], sizeBytesMax: Number.MAX_SAFE_INTEGER, path, signal: new AbortController().signal },
    onProgress: (verifiedBytes) => {
      verifiedMs = performance.now();
      // From here on the way is open, and bytes of the object move.
      if (verifiedBytes === 0) startMs = verifiedMs;
    },
  });
  const durableMs = performance.now();
  const used = lane.routes()[0]?.route;
  if (used !== route) throw new Error(`the lane took the way ${used} instead of ${route}`);
  await lane.close();
  const rate = (endMs: number) => ((sizeBytes / mebibyte) * 1000) / (endMs - startMs);
  return { verified: rate(verifiedMs), durable: rate(durableMs) };
}

async function irohRate({ bare }: SourceAddress, wantedMiB: number): Promise<number> {
  const adapter = createIrohAdapter({ secretKey: benchKey("bare reader"), ...onLoopback });
  await adapter.listen(() => {});
  const signal = new AbortController().signal;
  const connection = await adapter.connect(bare, "blixard/rpc/1", { signal });
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
