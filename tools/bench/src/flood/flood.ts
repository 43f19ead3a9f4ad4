/**
 * `npm run bench -- flood`: a stranger opens connections, with more streams on each than it may have, and TLS connections
 * that it never ends the handshake of, against one node of three real processes that are writing.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessCluster, type ProcessNode } from "@blixard/testing";
import type { Connection } from "@blixard/transport";
import { createIrohAdapter, type IrohAdapter } from "@blixard/transport/iroh";

const binary = fileURLToPath(new URL("../../../../apps/node/dist/main.js", import.meta.url));
const atOnce = 20;
/** Longer than a handshake may take, after which everything of the flood is gone. */
const restMs = 15_000;

export async function runFlood(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      connections: { type: "string", default: "2000" },
      streams: { type: "string", default: "20000" },
    },
  });
  const connections = Number(values.connections);
  const streamsEach = Math.ceil(Number(values.streams) / connections);
  const cluster = await ProcessCluster.start({ binary, flags: ["--vm-driver", "fake", "--log-level", "error"] });
  const secretKey = new Uint8Array(randomBytes(32));
  const stranger = createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false });
  try {
    const node = cluster.node(await cluster.waitForLeader());
    const before = await cluster.status(node.id);
    const idle = await gaugesOf(node);
    const writes = keepWriting(cluster);
    const slow = await openSlowSockets(node, connections);
    const opened = await openConnections(stranger, node, connections, streamsEach);
    const flooded = await gaugesOf(node);
    for (const socket of slow) socket.destroy();
    const written = await writes.stop();
    const after = await cluster.status(node.id);
    await sleep(systemClock, restMs);
    const rested = await gaugesOf(node);
    const report = {
      connections: opened.connections,
      streams: opened.streams,
      tlsConnections: slow.length,
      lagMaxMs: { idle: idle.lagMaxMs, flooded: flooded.lagMaxMs },
      residentMiB: { idle: idle.residentMiB, flooded: flooded.residentMiB, after: rested.residentMiB },
      writes: written,
      sameLeaderAndTerm: after.term === before.term && after.leaderId === before.leaderId,
      nodesRunning: cluster.nodes.filter(({ isRunning }) => isRunning).length,
    };
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  } finally {
    await stranger.close();
    await cluster.close();
  }
}

async function openConnections(stranger: IrohAdapter, node: ProcessNode, count: number, streamsEach: number) {
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

/** The longest delay of the event loop since the last time that somebody asked, and the memory. */
async function gaugesOf(node: ProcessNode): Promise<{ readonly lagMaxMs: number; readonly residentMiB: number }> {
  const headers = { authorization: `Bearer ${await node.token()}` };
  const text = await (await fetch(`${node.ready.http}/metrics`, { headers })).text();
  const gauge = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  return {
    lagMaxMs: Math.round(gauge("blixard_nodejs_eventloop_lag_max_seconds") * 1_000),
    residentMiB: Math.round(gauge("blixard_process_resident_memory_bytes") / 1_048_576),
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
