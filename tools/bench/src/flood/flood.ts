/**
 * `npm run bench -- flood`: a stranger opens connections, with more streams on each than it may have, and TLS connections
 * that it never ends the handshake of, against one node of three real processes that are writing; several times, because
 * only the second flood shows whether the first one left something behind. Exits with 1 when a bar is missed.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessCluster, type ProcessNode } from "@blixard/testing";
import type { Connection, TransportAdapter } from "@blixard/transport";
import { createGrpcAdapter } from "@blixard/transport/grpc";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { binary } from "../sides/binary.ts";

const atOnce = 20;
const calmWritesMs = 15_000;
/** Longer than a handshake may take, after which everything of the flood is gone. */
const restMs = 15_000;

export async function runFlood(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      transport: { type: "string", default: "iroh" },
      rounds: { type: "string", default: "5" },
      connections: { type: "string", default: "2000" },
      streams: { type: "string", default: "20000" },
      tls: { type: "string", default: "2000" },
    },
  });
  const plan: FloodPlan = {
    connections: Number(values.connections),
    streams: Number(values.streams),
    tls: Number(values.tls),
  };
  const grpc = values.transport === "grpc";
  const flags = ["--vm-driver", "fake", "--log-level", "error", "--transport", grpc ? "grpc" : "iroh"];
  const cluster = await ProcessCluster.start({ binary, flags });
  const stranger = strangerOver(grpc);
  try {
    const node = cluster.node(await cluster.waitForLeader());
    const before = await cluster.status(node.id);
    const base = await calmGauges(cluster, node);
    const rounds: FloodRound[] = [];
    while (rounds.length < Number(values.rounds)) rounds.push(await floodOnce(cluster, node, stranger, plan));
    const after = await cluster.status(node.id);
    const [previous = base, last = base] = rounds.slice(-2).map(({ after: left }) => left);
    const bars = {
      "no process ended": cluster.nodes.every(({ isRunning }) => isRunning),
      "no election": after.term === before.term && after.leaderId === before.leaderId,
      "members went on committing": rounds.every(({ writes }) => writes > 0),
      [`event loop lag below ${lagMsMax} ms`]: rounds.every(({ flooded }) => flooded.lagMaxMs < lagMsMax),
      "everything is closed afterwards": rounds.every(({ after: { openFiles } }) => openFiles <= base.openFiles + 8),
      [`all floods leave less than ${leftMiBMax} MiB outside the heap`]: last.nativeMiB < base.nativeMiB + leftMiBMax,
      "the last flood adds little to what the one before left": last.nativeMiB < previous.nativeMiB * nativeRatioMax,
      "the heap is back after each flood": rounds.every(
        ({ after: { heapUsedMiB } }) => heapUsedMiB < base.heapUsedMiB * heapRatioMax,
      ),
    };
    process.stdout.write(`${JSON.stringify({ transport: grpc ? "grpc" : "iroh", base, rounds, bars }, null, 2)}\n`);
    if (Object.values(bars).includes(false)) process.exitCode = 1;
  } finally {
    await stranger.close();
    await cluster.close();
  }
}

/** The allocators keep pages that were once needed, some 75 to 120 MiB in a bare Iroh endpoint after 10,000 connections. */
const leftMiBMax = 100;
const nativeRatioMax = 1.15;
const heapRatioMax = 1.5;
const lagMsMax = 200;

interface FloodPlan {
  readonly connections: number;
  readonly streams: number;
  /** Connections to the TLS side that never end their handshake. */
  readonly tls: number;
}

interface FloodRound {
  readonly connections: number;
  readonly streams: number;
  readonly tlsConnections: number;
  readonly writes: number;
  readonly flooded: Gauges;
  readonly after: Gauges;
}

function strangerOver(grpc: boolean): TransportAdapter {
  const own = { secretKey: new Uint8Array(randomBytes(32)), bind: "127.0.0.1:0" };
  if (grpc) return createGrpcAdapter({ ...own, clock: systemClock, listener: "external" });
  return createIrohAdapter({ ...own, relay: false, discovery: false });
}

/** After as many writes as during a flood, and no flood. */
async function calmGauges(cluster: ProcessCluster, node: ProcessNode): Promise<Gauges> {
  const writes = keepWriting(cluster);
  await sleep(systemClock, calmWritesMs);
  await writes.stop();
  return await gaugesAtRest(node);
}

/** V8 collects when it wants to; what counts is what it could not collect. */
async function gaugesAtRest(node: ProcessNode): Promise<Gauges> {
  await sleep(systemClock, restMs);
  await node.collectGarbage();
  return await gaugesOf(node);
}

async function floodOnce(
  cluster: ProcessCluster,
  node: ProcessNode,
  stranger: TransportAdapter,
  { connections, streams, tls }: FloodPlan,
): Promise<FloodRound> {
  const writes = keepWriting(cluster);
  const slow = await openSlowSockets(node, tls);
  const opened = await openConnections(stranger, node, connections, Math.ceil(streams / connections));
  const flooded = await gaugesOf(node);
  for (const socket of slow) socket.destroy();
  const written = await writes.stop();
  return { ...opened, tlsConnections: slow.length, writes: written, flooded, after: await gaugesAtRest(node) };
}

async function openConnections(stranger: TransportAdapter, node: ProcessNode, count: number, streamsEach: number) {
  const target = { endpointId: node.ready.endpointId, addresses: [node.ready.bind] };
  const totals = { connections: 0, streams: 0 };
  const one = async () => {
    const signal = AbortSignal.timeout(30_000);
    const connection = await stranger.connect(target, "blixard/rpc/1", { signal }).catch(() => undefined);
    if (connection === undefined) return;
    totals.connections++;
    totals.streams += await openStreams(connection, streamsEach);
    connection.close("enough");
  };
  for (let begun = 0; begun < count; begun += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - begun) }, one));
  }
  return totals;
}

/** How many were opened before the node ended the connection. */
async function openStreams(connection: Connection, count: number): Promise<number> {
  for (let opened = 0; opened < count; opened++) {
    try {
      const waited = Promise.race([connection.openStream(), connection.closed]);
      const stream = await waited;
      if (typeof stream === "string") return opened;
      await Promise.race([stream.write(Uint8Array.of(0x42)), connection.closed]);
    } catch {
      return opened;
    }
  }
  return count;
}

/** The first byte of a TLS record, and nothing after it. */
async function openSlowSockets(node: ProcessNode, count: number): Promise<Socket[]> {
  const { hostname, port } = new URL(`tcp://${node.ready.bind}`);
  const sockets: Socket[] = [];
  for (let begun = 0; begun < count; begun++) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
    socket.write(Uint8Array.of(0x16));
    sockets.push(socket);
  }
  return sockets;
}

interface Gauges {
  /** The longest delay of the event loop since somebody asked last. */
  readonly lagMaxMs: number;
  readonly residentMiB: number;
  readonly heapUsedMiB: number;
  /** Resident and not of V8's heap: what libraries allocate, code, and pages that allocators keep. */
  readonly nativeMiB: number;
  readonly openFiles: number;
}

async function gaugesOf(node: ProcessNode): Promise<Gauges> {
  const headers = { authorization: `Bearer ${await node.token()}` };
  const text = await (await fetch(`${node.ready.http}/metrics`, { headers })).text();
  const gauge = (name: string) => Number(new RegExp(`^blixard_${name} (\\S+)$`, "m").exec(text)?.[1]);
  const mebibytes = (name: string) => Math.round(gauge(name) / 1_048_576);
  return {
    lagMaxMs: Math.round(gauge("nodejs_eventloop_lag_max_seconds") * 1_000),
    residentMiB: mebibytes("process_resident_memory_bytes"),
    heapUsedMiB: mebibytes("nodejs_heap_size_used_bytes"),
    nativeMiB: mebibytes("process_resident_memory_bytes") - mebibytes("nodejs_heap_size_total_bytes"),
    openFiles: gauge("process_open_fds"),
  };
}

function keepWriting(cluster: ProcessCluster): { stop(): Promise<number> } {
  let stopped = false;
  const client = cluster.client();
  const writing = (async () => {
    let written = 0;
    for (; !stopped; written++) await client.kv.put("flood", String(written));
    return written;
  })();
  writing.catch(() => {});
  return {
    async stop() {
      stopped = true;
      return await writing.finally(() => client.close());
    },
  };
}
