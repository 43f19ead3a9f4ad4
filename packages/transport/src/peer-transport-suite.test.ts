/** The transport keeps what RaftNode's port promises, over every technology. */
import { discardMetrics, seededRandom, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describePeerTransport } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { createTransport } from "./create-transport.ts";
import { createGrpcAdapter } from "./grpc/index.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { createTestDualAdapter } from "./testing/dual-fixture.ts";
import { asId, until } from "./testing/transport-fixture.ts";
import type { TransportAdapter } from "./transport-types.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });
const random = seededRandom(20);

const technologies = ["memory", "iroh", "grpc", "dual"] as const;

async function newAdapter(technology: (typeof technologies)[number]): Promise<TransportAdapter> {
  const secretKey = random.bytes(32);
  const bind = "127.0.0.1:0";
  switch (technology) {
    case "memory":
      return network.createAdapter({ endpointId: Buffer.from(secretKey).toString("hex") });
    case "iroh":
      return createIrohAdapter({ secretKey, bind, relay: false, discovery: false });
    case "grpc":
      return createGrpcAdapter({ clock: systemClock, secretKey, bind });
    case "dual":
      return (await createTestDualAdapter(secretKey)).adapter;
    default:
      return technology satisfies never;
  }
}

for (const technology of technologies) {
  describePeerTransport(`createTransport over ${technology}`, { describe, it, expect }, async (handlersOf) => {
    const adapters = await Promise.all([1, 2, 3].map(() => newAdapter(technology)));
    const nodes = adapters.map((adapter, at) => {
      const nodeId = at + 1;
      const deps = { clock: systemClock, random, logger: silentLogger, metrics: discardMetrics, adapter };
      // The suite asks for healthy links: on a busy machine a session with short heartbeats breaks, and loses messages.
      const transport = createTransport(deps, { nodeId, heartbeatMs: 1_000 });
      transport.peers.bind(handlersOf(asId(nodeId)));
      return { nodeId, transport };
    });
    for (const { transport } of nodes) {
      transport.serve({ call: async ({ payload }) => payload });
      await transport.start();
    }
    const peers = nodes.map(({ nodeId, transport }) => ({
      nodeId,
      endpointId: transport.endpointId,
      addresses: transport.addresses(),
    }));
    for (const { transport } of nodes) transport.setPeers(peers);
    await until(() => nodes.every(({ transport }) => transport.sessions().every(({ state }) => state === "ready")));
    const find = (id: number) => {
      const node = nodes.find(({ nodeId }) => nodeId === id);
      if (node === undefined) throw new Error(`there is no node ${id}`);
      return node.transport;
    };
    return {
      transport: (id) => find(id).peers,
      crash: (id) => find(id).close(),
      dispose: async () => {
        await Promise.all(nodes.map(({ transport }) => transport.close()));
      },
    };
  });
}
