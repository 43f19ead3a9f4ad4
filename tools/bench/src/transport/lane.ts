/** The Raft lane as nodes use it: sessions, gathering, priorities and compression over an adapter. */
import { assert, discardMetrics, silentLogger, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, type PeerMessage } from "@blixard/raft";
import { createTransport, type EndpointAddress, type TransportAdapter } from "@blixard/transport";
import { createGrpcAdapter } from "@blixard/transport/grpc";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { seedOf } from "./carriers.ts";

export const laneNames = ["lane/grpc", "lane/iroh"] as const;
export type LaneName = (typeof laneNames)[number];

export interface Lane {
  readonly address: EndpointAddress;
  /** Resolves when the session with the other side is ready. */
  connect(to: EndpointAddress): Promise<void>;
  send(message: PeerMessage): void;
  close(): Promise<void>;
}

const readyMs = 20_000;
const lostText = "the session of a lane broke and its messages are lost: the machine was away; run the bench again";

export async function openLane(
  name: LaneName,
  nodeId: number,
  onMessage: (message: PeerMessage) => void,
  onLost: (error: Error) => void,
): Promise<Lane> {
  const adapter = adapterOf(name, nodeId);
  const deps = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics, adapter };
  const transport = createTransport(deps, { nodeId });
  const peerId = 3 - nodeId;
  transport.peers.bind({
    onMessage: (_, message) => onMessage(message),
    onUnreachable: () => onLost(new Error(lostText)),
  });
  transport.serve({ call: async ({ payload }) => payload });
  await transport.start();
  return {
    address: { endpointId: transport.endpointId, addresses: transport.addresses() },
    connect: async (to) => {
      const ready = new Watch(false);
      transport.setPeers([{ nodeId: peerId, ...to }]);
      const look = setInterval(() => ready.set(transport.sessions()[0]?.state === "ready"), 10);
      await ready
        .until((is) => is, { signal: AbortSignal.timeout(readyMs) })
        .catch(() => {})
        .finally(() => clearInterval(look));
      assert(ready.value, `no session within ${readyMs} ms: ${transport.sessions()[0]?.lastError}`);
    },
    send: (message) => assert(transport.peers.send(asNodeId(peerId), message), "the lane dropped a message"),
    close: () => transport.close(),
  };
}

function adapterOf(name: LaneName, seed: number): TransportAdapter {
  const options = { secretKey: seedOf(seed + 100), bind: "127.0.0.1:0" };
  if (name === "lane/grpc") return createGrpcAdapter({ ...options, clock: systemClock });
  return createIrohAdapter({ ...options, relay: false, discovery: false });
}
