import { BlixardError, discardMetrics, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { NodeTls } from "@blixard/identity";
import type { Peer } from "@blixard/transport";
import { afterEach, describe, expect, it } from "@jest/globals";
import { BulkRoutes } from "./bulk-routes.ts";
import type { BulkChannel } from "./bulk-types.ts";
import { bindBulkMetrics } from "./metrics.ts";
import { acquaint, type BulkNode, startBulkNode } from "./testing/bulk-fixture.ts";

/** A channel over Iroh to any peer, which only its owner closes. */
function channelOverIroh(): BulkChannel {
  let closed = false;
  return {
    route: "iroh",
    get closed() {
      return closed;
    },
    request: () => Promise.reject(new BlixardError("UNREACHABLE", "nothing is asked here")),
    close: () => {
      closed = true;
    },
  };
}

describe("BulkRoutes", () => {
  const nodes: BulkNode[] = [];
  let routes: BulkRoutes | undefined;
  afterEach(async () => {
    routes?.close();
    await Promise.all(nodes.splice(0).map((node) => node.kill()));
  });

  it("gives up a channel over Iroh when the session with the peer breaks, and leaves a direct one alone", async () => {
    const [own, direct] = [await startBulkNode(1), await startBulkNode(2)];
    nodes.push(own, direct);
    acquaint(nodes);
    const elsewhere: Peer = { nodeId: 3, endpointId: "33".repeat(32), addresses: ["127.0.0.1:1"] };
    const members = [direct.peer, elsewhere];
    let breakSession = (_: string) => {};
    routes = new BulkRoutes({
      clock: systemClock,
      logger: silentLogger,
      metrics: bindBulkMetrics(discardMetrics),
      peers: {
        peer: (key) => members.find(({ nodeId, endpointId }) => nodeId === key || endpointId === key),
        onBroken: (listener) => {
          breakSession = listener;
        },
      },
      tls: new NodeTls({ clock: systemClock, secretKey: own.secretKey }),
      call: () => Promise.reject(new BlixardError("UNREACHABLE", "there is no RPC lane here")),
      iroh: { dial: async () => channelOverIroh() },
    });
    const channels = [await routes.channelTo(2), await routes.channelTo(3)];
    expect(channels.map(({ route }) => route)).toEqual(["direct", "iroh"]);
    for (const { endpointId } of members) breakSession(endpointId);
    expect(channels.map(({ closed }) => closed)).toEqual([false, true]);
    expect(await routes.channelTo(3)).not.toBe(channels[1]);
  });
});
