/** The transport keeps what RaftNode's port promises, over every technology. */
import { discardMetrics, seededRandom, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describePeerTransport } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { createTransport } from "./create-transport.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { asId, until } from "./testing/transport-fixture.ts";
import type { TransportAdapter } from "./transport-types.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });
const random = seededRandom(20);

function newAdapter(technology: "memory" | "iroh"): TransportAdapter {
  if (technology === "memory") {
    return network.createAdapter({ endpointId: Buffer.from(random.bytes(32)).toString("hex") });
  }
  return createIrohAdapter({ secretKey: random.bytes(32), bind: "127.0.0.1:0", relay: false, discovery: false });
}

for (const technology of ["memory", "iroh"] as const) {
  describePeerTransport(`createTransport over ${technology}`, { describe, it, expect }, async (handlersOf) => {
    const nodes = [1, 2, 3].map((nodeId) => {
      const adapter = newAdapter(technology);
      const deps = { clock: systemClock, random, logger: silentLogger, metrics: discardMetrics, adapter };
      const transport = createTransport(deps, { nodeId, heartbeatMs: 100 });
      transport.peers.bind(handlersOf(asId(nodeId)));
      return { nodeId, transport };
    });
    for (const { transport } of nodes) await transport.start(async ({ payload }) => payload);
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
