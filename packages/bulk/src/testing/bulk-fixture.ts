/** Nodes with nothing but a bulk lane on a TLS listener of their own, and objects in memory. */
import { createHash } from "node:crypto";
import { BlixardError, type Logger, seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createTlsListener, NodeTls, type OperatorTls } from "@blixard/identity";
import type { Peer } from "@blixard/transport";
import { CountingMetrics } from "@blixard/transport/testing";
import { type BulkLane, type BulkObject, bulkAlpn, createBulkLane } from "../index.ts";

export interface BulkNode {
  readonly nodeId: number;
  readonly secretKey: Uint8Array;
  readonly lane: BulkLane;
  readonly metrics: CountingMetrics;
  /** What it logged. */
  readonly logged: string[];
  /** What it gives, by kind and id; a test may change it. */
  readonly objects: Map<string, BulkObject>;
  readonly peer: Peer;
  /** Whom it knows; a test may change it. */
  readonly members: Peer[];
  /** Ends all connections and takes no new ones, as a process that is killed. */
  kill(): Promise<void>;
}

/** Calls a method of the RPC lane at `node`, as the holder of the key. */
export function callOf(node: Pick<BulkNode, "lane">, method: string, endpointId: string, payload: Uint8Array) {
  const handler = node.lane.rpcMethods.get(method);
  if (handler === undefined) throw new BlixardError("UNSUPPORTED", `no part answers ${method}`);
  return handler({ payload, remote: { endpointId } });
}

type Call = Parameters<typeof createBulkLane>[0]["call"];

const noCall: Call = () => Promise.reject(new BlixardError("UNREACHABLE", "there is no RPC lane here"));

export interface BulkNodeOptions {
  /** Default: there is no RPC lane. */
  readonly call?: Call;
  /** Whether a worker may serve as a route. Default: no. */
  readonly iroh?: boolean;
  /** The files of an operator's CA. Default: the key is all there is. */
  readonly loadOperator?: () => OperatorTls;
}

export async function startBulkNode(nodeId: number, options: BulkNodeOptions = {}): Promise<BulkNode> {
  const secretKey = new Uint8Array(createHash("sha256").update(`bulk node ${nodeId}`).digest());
  const { loadOperator } = options;
  const nodeTls = new NodeTls({
    clock: systemClock,
    secretKey,
    ...(loadOperator === undefined ? {} : { loadOperator }),
  });
  const { endpointId } = nodeTls;
  const metrics = new CountingMetrics();
  const logged: string[] = [];
  const logger: Logger = { log: (_, message) => void logged.push(message), child: () => logger };
  const objects = new Map<string, BulkObject>();
  const members: Peer[] = [];
  const open = (kind: string) => async (id: string) => objects.get(`${kind}/${id}`);
  const lane = createBulkLane({
    clock: systemClock,
    logger,
    metrics,
    peers: {
      peer: (wanted) => members.find((peer) => peer.nodeId === wanted || peer.endpointId === wanted),
      onBroken: () => {},
    },
    providers: { image: open("image"), snapshot: open("snapshot") },
    secretKey,
    tls: nodeTls,
    call: options.call ?? noCall,
    iroh: options.iroh === true ? { bind: "127.0.0.1:0", relay: false, discovery: false } : undefined,
  });
  const protocols = { alpnProtocols: ["http/1.1", bulkAlpn], requestCert: true };
  const tls = { host: "127.0.0.1", port: 0, ...nodeTls.shown(), ...protocols };
  const listener = await createTlsListener(tls, (socket) => lane.accept(socket));
  let killed: Promise<void> | undefined;
  return {
    nodeId,
    secretKey,
    lane,
    metrics,
    logged,
    objects,
    members,
    peer: { nodeId, endpointId, addresses: [`127.0.0.1:${listener.port}`] },
    kill: () => {
      killed ??= listener.close().then(() => lane.close());
      return killed;
    },
  };
}

/** Makes everybody a member for everybody else. */
export function acquaint(nodes: readonly BulkNode[]): void {
  for (const node of nodes) {
    node.members.splice(0, node.members.length, ...nodes.filter((other) => other !== node).map(({ peer }) => peer));
  }
}

export interface MemoryObject extends BulkObject {
  /** Called before each read; it may reject, wait, or return other bytes. */
  intercept?: ((offset: number, bytes: Uint8Array) => Promise<Uint8Array>) | undefined;
}

export function memoryObject(content: Uint8Array): MemoryObject {
  const object: MemoryObject = {
    sizeBytes: content.length,
    read: async (offset, length) => {
      if (offset + length > content.length) throw new BlixardError("NOT_FOUND", "the object ends before");
      const bytes = content.slice(offset, offset + length);
      return object.intercept === undefined ? bytes : await object.intercept(offset, bytes);
    },
  };
  return object;
}

/** Bytes that differ in every chunk. */
export function randomContent(seed: number, length: number): Uint8Array {
  const random = seededRandom(seed);
  const content = new Uint8Array(length);
  const block = random.bytes(4_096);
  for (let at = 0; at < length; at += block.length) {
    block[0] = (at / 4_096) & 0xff;
    block[1] = (at / 4_096 / 256) & 0xff;
    content.set(block.subarray(0, Math.min(block.length, length - at)), at);
  }
  return content;
}
