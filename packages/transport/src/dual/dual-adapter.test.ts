import { systemClock } from "@blixard/common/system";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createGrpcAdapter } from "../grpc/index.ts";
import { createIrohAdapter } from "../iroh/index.ts";
import { createTestDualAdapter } from "../testing/dual-fixture.ts";
import { describeTransportAdapter } from "../testing/index.ts";
import {
  asId,
  type FixtureNode,
  type FixtureOptions,
  heartbeat,
  introduce,
  startNode,
  stateOf,
  until,
} from "../testing/transport-fixture.ts";
import type { TransportAdapter } from "../transport-types.ts";
import { createDualAdapter } from "./index.ts";

const seedOf = (number: number) => new Uint8Array(32).fill(number);

describeTransportAdapter({ describe, it, expect }, "dual", {
  create: async (number) => (await createTestDualAdapter(seedOf(number))).adapter,
  deadAddress: () => "127.0.0.1:9",
});

/** Pends until the signal aborts. */
function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

describe("createDualAdapter", () => {
  const nodes: FixtureNode[] = [];
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
  });
  const start = async (nodeId: number, adapter: FixtureOptions["adapter"]) => {
    const node = await startNode(nodeId, { adapter });
    nodes.push(node);
    return node;
  };
  const startDual = async (nodeId: number) => {
    const { adapter, iroh } = await createTestDualAdapter(seedOf(80 + nodeId), {
      healthyMs: 600,
      probeIntervalMs: 100,
    });
    return { node: await start(nodeId, adapter), iroh };
  };
  const sessionOf = (node: FixtureNode, peer: number) =>
    node.transport.sessions().find(({ nodeId }) => nodeId === peer);
  const readyOver = (node: FixtureNode, peer: number, transport: string) => {
    const session = sessionOf(node, peer);
    return session?.state === "ready" && session.transport === transport;
  };
  const ready = (one: FixtureNode, two: FixtureNode) =>
    stateOf(one, two.nodeId) === "ready" && stateOf(two, one.nodeId) === "ready";

  it("uses Iroh between peers that both have it", async () => {
    const [one, two] = [await startDual(1), await startDual(2)];
    introduce([one.node, two.node]);
    await until(() => readyOver(one.node, 2, "iroh") && readyOver(two.node, 1, "iroh"));
    expect(sessionOf(one.node, 2)).toMatchObject({ transportReason: "preferred" });
  });

  it.each([
    ["grpc", "lower", 1, 2],
    ["grpc", "higher", 2, 1],
    ["iroh", "lower", 1, 2],
    ["iroh", "higher", 2, 1],
  ] as const)("reaches a peer that has only %s, as the %s id", async (technology, _, own, other) => {
    const dual = await startDual(own);
    const options = { secretKey: seedOf(90), bind: "127.0.0.1:0" };
    const adapter =
      technology === "grpc"
        ? createGrpcAdapter({ ...options, clock: systemClock })
        : createIrohAdapter({ ...options, relay: false, discovery: false });
    const single = await start(other, adapter);
    introduce([dual.node, single]);
    await until(() => ready(dual.node, single));
    expect(sessionOf(dual.node, other)).toMatchObject({ transport: technology });
    expect(await dual.node.transport.call(other, "echo", Uint8Array.of(1), { timeoutMs: 10_000 })).toHaveLength(1);
    expect(await single.transport.call(own, "echo", Uint8Array.of(1), { timeoutMs: 10_000 })).toHaveLength(1);
  });

  it("keeps to Iroh when only what it sent before the peer had started was lost", async () => {
    const options = { secretKey: seedOf(91), bind: "127.0.0.1:0", relay: false, discovery: false };
    const iroh = createIrohAdapter(options);
    await iroh.bind();
    let dials = 0;
    const preferred: TransportAdapter = {
      kind: iroh.kind,
      endpointId: iroh.endpointId,
      addresses: () => iroh.addresses(),
      listen: (onConnection) => iroh.listen(onConnection),
      connect: (to, lane, { signal }) => (dials++ === 0 ? abortOf(signal) : iroh.connect(to, lane, { signal })),
      close: () => iroh.close(),
    };
    const fallback = createGrpcAdapter({ ...options, clock: systemClock });
    const adapter = createDualAdapter({ clock: systemClock, preferred, fallback });
    const { node: peer } = await startDual(2);
    const { signal } = new AbortController();
    const connection = await adapter.connect(peer.peer(), "blixard/rpc/1", { signal });
    expect(connection.transport).toBe("iroh");
    expect(adapter.choices?.choiceFor(peer.adapter.endpointId)).toEqual({ transport: "iroh", reason: "preferred" });
    await adapter.close();
  });

  it("falls back when Iroh is cut, says why, and returns without a break when it is healthy again", async () => {
    const [one, two] = [await startDual(1), await startDual(2)];
    introduce([one.node, two.node]);
    await until(() => readyOver(one.node, 2, "iroh") && readyOver(two.node, 1, "iroh"));
    const cut = (blocked: boolean) => {
      one.iroh.setBlocked(blocked ? [two.node.adapter.endpointId] : []);
      two.iroh.setBlocked(blocked ? [one.node.adapter.endpointId] : []);
    };
    cut(true);
    await until(() => readyOver(one.node, 2, "grpc") && readyOver(two.node, 1, "grpc"));
    expect([sessionOf(one.node, 2)?.transportReason, sessionOf(two.node, 1)?.transportReason]).toContain(
      "iroh did not answer in time",
    );
    await one.node.transport.call(2, "echo", Uint8Array.of(1), { timeoutMs: 10_000 });
    const broken = [one.node.unreachable.value.length, two.node.unreachable.value.length];
    cut(false);
    let sent = 0;
    await until(() => {
      sent += one.node.transport.peers.send(asId(2), heartbeat(1, 2)) ? 1 : 0;
      return readyOver(one.node, 2, "iroh") && readyOver(two.node, 1, "iroh");
    });
    // Nothing was lost and nobody was reported unreachable on the way back.
    await two.node.received.until((all) => all.length === sent);
    expect([one.node.unreachable.value.length, two.node.unreachable.value.length]).toEqual(broken);
  });
});
