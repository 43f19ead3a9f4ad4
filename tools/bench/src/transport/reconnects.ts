/**
 * `npm run bench -- reconnects`: pairs of nodes over Iroh in one process whose connections are broken again and again,
 * and nodes that go and come back. Says how long it took to be connected again, and whether memory grows: the runtime of
 * Iroh takes its share in the first thousands of connections, so growth is what the second half adds.
 */
import { parseArgs } from "node:util";
import { discardMetrics, type Random, seededRandom, silentLogger, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createTransport, type Transport } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { createRecordingAdapter, type RecordingAdapter } from "@blixard/transport/testing";

interface Node {
  readonly nodeId: number;
  readonly secretKey: Uint8Array;
  readonly adapter: RecordingAdapter;
  readonly transport: Transport;
  /** How often the session was reported as broken. */
  breaks: number;
}

const growthMibMax = 32;
const waitMsMax = 30_000;

export async function runReconnects(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      count: { type: "string", default: "10000" },
      pairs: { type: "string", default: "8" },
      returns: { type: "string", default: "20" },
      seed: { type: "string", default: "1" },
    },
  });
  const random = seededRandom(Number(values.seed));
  await measureReturns(Number(values.returns), random);
  await measureReconnects(Number(values.count), Number(values.pairs), random);
}

/** A node is away for a while and comes back at its address. */
async function measureReturns(count: number, random: Random): Promise<void> {
  const tookMs: number[] = [];
  const one = await startNode(1, random.bytes(32), random);
  let two = await startNode(2, random.bytes(32), random);
  introduce(one, two);
  await until(() => isReady(one) && isReady(two));
  for (let round = 0; round < count; round++) {
    const [address = ""] = two.transport.addresses();
    await two.transport.close();
    await sleep(systemClock, 1_000 + random.next() * 2_000);
    two = await startNode(2, two.secretKey, random, address);
    const startMs = systemClock.monotonicMs();
    two.transport.setPeers([peerOf(one), peerOf(two)]);
    await until(() => isReady(one) && isReady(two));
    tookMs.push(systemClock.monotonicMs() - startMs);
  }
  print(`${count} returns of a node, connected after ${quantiles(tookMs)}`);
  await Promise.all([one, two].map(({ transport }) => transport.close()));
}

async function measureReconnects(count: number, pairsCount: number, random: Random): Promise<void> {
  const tookMs: number[] = [];
  const rssMib: number[] = [];
  const pairs = await Promise.all(
    Array.from({ length: pairsCount }, async () => {
      const one = await startNode(1, random.bytes(32), random);
      const two = await startNode(2, random.bytes(32), random);
      introduce(one, two);
      return [one, two] as const;
    }),
  );
  const breakUntilDone = async (pair: readonly [Node, Node]) => {
    await until(() => pair.every(isReady));
    while (tookMs.length < count) {
      tookMs.push(await breakOnce(pair, pair[tookMs.length % 2 === 0 ? 0 : 1]));
      if (tookMs.length % Math.ceil(count / 10) !== 0) continue;
      rssMib.push(process.memoryUsage.rss() / 2 ** 20);
      print(`${tookMs.length} reconnects, ${Math.round(rssMib.at(-1) ?? 0)} MiB resident`);
    }
  };
  await Promise.all(pairs.map(breakUntilDone));
  const openMax = Math.max(...pairs.flat().map(({ adapter }) => adapter.open.size));
  print(`connected again after ${quantiles(tookMs)}; at most ${openMax} connections are open at a node`);
  const growthMib = (rssMib.at(-1) ?? 0) - (rssMib[Math.floor(rssMib.length / 2) - 1] ?? 0);
  const verdict = growthMib <= growthMibMax ? "ok" : "FAIL";
  print(`${verdict}: the second half added ${growthMib.toFixed(1)} MiB resident; at most ${growthMibMax} may be`);
  if (verdict === "FAIL") process.exitCode = 1;
  await Promise.all(pairs.flat().map(({ transport }) => transport.close()));
}

/** Breaks the connection at one side; resolves with the time until both are connected again. */
async function breakOnce(pair: readonly [Node, Node], side: Node): Promise<number> {
  const { breaks } = side;
  const startMs = systemClock.monotonicMs();
  for (const connection of side.adapter.open) connection.close("bench");
  await until(() => side.breaks > breaks);
  await until(() => pair.every(isReady));
  return systemClock.monotonicMs() - startMs;
}

async function startNode(nodeId: number, secretKey: Uint8Array, random: Random, bind = "127.0.0.1:0"): Promise<Node> {
  const adapter = createRecordingAdapter(createIrohAdapter({ secretKey, bind, relay: false, discovery: false }));
  const deps = { clock: systemClock, random, logger: silentLogger, metrics: discardMetrics, adapter };
  const transport = createTransport(deps, { nodeId });
  const node: Node = { nodeId, secretKey, adapter, transport, breaks: 0 };
  transport.peers.bind({ onMessage: () => {}, onUnreachable: () => node.breaks++ });
  transport.serve({ call: async ({ payload }) => payload });
  await transport.start();
  return node;
}

function introduce(one: Node, two: Node): void {
  for (const { transport } of [one, two]) transport.setPeers([peerOf(one), peerOf(two)]);
}

function peerOf({ nodeId, transport }: Node) {
  return { nodeId, endpointId: transport.endpointId, addresses: transport.addresses() };
}

const isReady = ({ transport }: Node) => transport.sessions().every(({ state }) => state === "ready");

async function until(holds: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + waitMsMax;
  while (!holds()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`not connected within ${waitMsMax} ms`);
    await sleep(systemClock, 2);
  }
}

function quantiles(valuesMs: readonly number[]): string {
  const sorted = [...valuesMs].sort((a, b) => a - b);
  const at = (share: number) => `${Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0)} ms`;
  return `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, at most ${at(1)}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
