/** The other process of `bad-member`: it has the key of a worker, and asks the leader for as much as it can at a steady rate. */
import { once } from "node:events";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { loadOrCreateNodeKey } from "@blixard/identity";
import { encodeServiceCall, type MethodName } from "@blixard/protocol";
import { asLogIndex, asNodeId, asTerm, type Message, noNode } from "@blixard/raft";
import { createTransport, type Peer, type Transport } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";

export interface FloodOrder {
  readonly keyFile: string;
  readonly nodeId: number;
  /** The leader. */
  readonly target: Peer;
  readonly rate: number;
  /** More than any other process said that had the key, so that the leader talks with this one. */
  readonly starts: number;
}

export interface FloodCount {
  readonly passed: number;
  readonly refused: number;
  /** Questions for a read index, of which nobody says what became of them. */
  readonly reads: number;
}

const tickMs = 10;
const timeoutMs = 5_000;
/** Calls that wait for their answer: more than a member may have under way. */
const openMax = 200;

export async function runBadMember(): Promise<void> {
  const [order] = (await once(process, "message")) as [FloodOrder];
  const transport = await openWith(order);
  const count = { passed: 0, refused: 0, reads: 0 };
  let open = 0;
  let number = 0;
  const track = (work: Promise<unknown>) => {
    open++;
    const done = (result: "passed" | "refused") => () => {
      count[result]++;
      open--;
    };
    work.then(done("passed"), done("refused"));
  };
  const sendOne = () => {
    number++;
    if (number % 4 === 0) {
      transport.peers.send(asNodeId(order.target.nodeId), { type: "raft", message: readOf(order, number) });
      count.reads++;
    } else if (open < openMax) track(attempt(transport, order, number));
  };
  process.send?.("begun");
  const timer = setInterval(() => {
    for (let at = 0; at < (order.rate * tickMs) / 1_000; at++) sendOne();
  }, tickMs);
  await once(process, "message");
  clearInterval(timer);
  process.send?.(count);
  await once(process, "disconnect");
  process.exit();
}

async function openWith({ keyFile, nodeId, target, starts }: FloodOrder): Promise<Transport> {
  const { seed } = await loadOrCreateNodeKey(keyFile);
  const adapter = createIrohAdapter({ secretKey: seed, bind: "127.0.0.1:0", relay: false, discovery: false });
  const deps = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics, adapter };
  const transport = createTransport(deps, { nodeId });
  transport.peers.bind({ onMessage: () => {}, onUnreachable: () => {} });
  const start = () => ({ incarnation: 1, starts });
  transport.serve({ call: () => Promise.reject(new Error("it answers nobody")), start });
  await transport.start();
  transport.setPeers([target]);
  return transport;
}

function attempt(transport: Transport, order: FloodOrder, number: number): Promise<unknown> {
  const payloadOf = (name: string, request: object) => {
    const actor = { kind: "node", id: String(order.nodeId) } as const;
    const meta = {
      requestId: `flood-${number}-${process.pid}`,
      actor,
      access: "node",
      timeoutMs,
      stale: false,
      hops: 0,
    } as const;
    return encodeServiceCall({ name, request, meta });
  };
  const call = (name: MethodName, request: object) =>
    transport.call(order.target, name, payloadOf(name, request), { timeoutMs });
  switch (number % 4) {
    case 1:
      return call("kv.list", {});
    case 2:
      return call("node.update", { nodeId: order.nodeId, capacity: { vcpus: number % 64, memoryMiB: 1, drivers: [] } });
    default:
      return transport.stream(order.target, "kv.watch", payloadOf("kv.watch", {}), { timeoutMs });
  }
}

/** It bears no term, as a proposal. */
function readOf({ nodeId, target }: FloodOrder, number: number): Message {
  const [noTerm, noIndex] = [asTerm(0), asLogIndex(0)];
  const data = new TextEncoder().encode(String(number));
  return {
    ...{ type: "MsgReadIndex", from: asNodeId(nodeId), to: asNodeId(target.nodeId), term: noTerm },
    ...{ logTerm: noTerm, index: noIndex, commit: noIndex, vote: noNode, reject: false, rejectHint: noIndex },
    entries: [{ term: noTerm, index: noIndex, kind: "normal", data }],
  };
}
