/** Nodes with nothing but a transport, for the tests of this package: what they received, and waiting for levels. */
import { discardMetrics, type Metrics, type Random, seededRandom, silentLogger, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { Message, NodeId, PeerMessage } from "@blixard/raft";
import { createTransport } from "../create-transport.ts";
import type {
  Peer,
  RpcHandler,
  RpcStreamHandler,
  ServedNode,
  SessionState,
  Transport,
  TransportAdapter,
  TransportOptions,
} from "../transport-types.ts";

export interface FixtureNode {
  readonly nodeId: number;
  readonly transport: Transport;
  readonly adapter: TransportAdapter;
  readonly received: Watch<readonly { readonly from: number; readonly message: PeerMessage }[]>;
  readonly unreachable: Watch<readonly number[]>;
  /** The member that said last that it knows a newer start of this node. */
  readonly outdated: Watch<number | undefined>;
  /** The node as a peer of others, with its present addresses. */
  peer(): Peer;
}

export interface FixtureOptions {
  readonly adapter: TransportAdapter;
  readonly handler?: RpcHandler;
  readonly streamHandler?: RpcStreamHandler;
  /** What the node says beside its answers. */
  readonly says?: Pick<ServedNode, "isClientKey" | "start">;
  readonly random?: Random;
  readonly metrics?: Metrics;
  readonly transport?: Partial<TransportOptions>;
}

/** Answers with what it was sent. */
export const echo: RpcHandler = async ({ payload }) => payload;

/** Gives back each item. */
export const echoStream: RpcStreamHandler = async ({ input }) => input;

export async function startNode(nodeId: number, options: FixtureOptions): Promise<FixtureNode> {
  const { adapter } = options;
  const random = options.random ?? seededRandom(nodeId * 1000 + Math.floor(systemClock.monotonicMs()));
  const outdated = new Watch<number | undefined>(undefined);
  const transport = createTransport(
    {
      clock: systemClock,
      random,
      logger: silentLogger,
      metrics: options.metrics ?? discardMetrics,
      adapter,
    },
    // A session that breaks loses messages, so a machine that stands still for a moment must not break one.
    { nodeId, heartbeatMs: 500, ...options.transport },
  );
  const received = new Watch<readonly { readonly from: number; readonly message: PeerMessage }[]>([]);
  const unreachable = new Watch<readonly number[]>([]);
  transport.peers.bind({
    onMessage: (from, message) => received.update((all) => [...all, { from, message }]),
    onUnreachable: (id) => unreachable.update((all) => [...all, id]),
  });
  const { handler = echo, streamHandler = echoStream, says } = options;
  transport.serve({ call: handler, stream: streamHandler, onNewerStartClaimed: (by) => outdated.set(by), ...says });
  await transport.start();
  const peer = () => ({ nodeId, endpointId: adapter.endpointId, addresses: transport.addresses() });
  return { nodeId, transport, adapter, received, unreachable, outdated, peer };
}

/** Tells every node of every other one. */
export function introduce(nodes: readonly FixtureNode[]): void {
  const peers = nodes.map((node) => node.peer());
  for (const node of nodes) node.transport.setPeers(peers);
}

export function stateOf(node: FixtureNode, peer: number): SessionState | undefined {
  return node.transport.sessions().find(({ nodeId }) => nodeId === peer)?.state;
}

/** Looks until `holds`; throws after two minutes, so that a failed test does not go on looking for ever. */
export async function until(holds: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 120_000;
  while (!holds()) {
    if (systemClock.monotonicMs() > endMs) throw new Error("what was waited for did not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function heartbeat(from: number, to: number, fields: Partial<Message> = {}): PeerMessage {
  return { type: "raft", message: messageOf(from, to, { type: "MsgHeartbeat", ...fields }) };
}

export function append(from: number, to: number, index: number, data: Uint8Array): PeerMessage {
  const entries = [{ term: 1, index, kind: "normal", data }] as unknown as Message["entries"];
  return { type: "raft", message: messageOf(from, to, { type: "MsgApp", entries }) };
}

export const asId = (id: number) => id as NodeId;

function messageOf(from: number, to: number, fields: Partial<Message>): Message {
  const zero = { term: 1, logTerm: 0, index: 0, commit: 0, vote: 0, reject: false, rejectHint: 0, entries: [] };
  return { from, to, ...zero, ...fields } as unknown as Message;
}
