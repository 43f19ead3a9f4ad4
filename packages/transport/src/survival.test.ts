/** What sessions survive: collections of garbage, hundreds of reconnects, peers that do not read, swapped addresses. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Clock, discardMetrics, seededRandom, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createTransport } from "./create-transport.ts";
import { encodeFrame } from "./frames/frame.ts";
import { createGrpcAdapter } from "./grpc/index.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { encodeHello } from "./session/hello.ts";
import { createFaultyAdapter, createRecordingAdapter } from "./testing/index.ts";
import {
  append,
  asId,
  type FixtureNode,
  heartbeat,
  introduce,
  startNode,
  stateOf,
  until,
} from "./testing/transport-fixture.ts";
import { transportLimits } from "./transport-limits.ts";
import type { TransportAdapter } from "./transport-types.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(3) });
const idOf = (number: number) => number.toString(16).padStart(64, "0");
const nodes: FixtureNode[] = [];

const adapterOf = (technology: "iroh" | "grpc" | "memory", number: number, bind = "127.0.0.1:0"): TransportAdapter => {
  const secretKey = new Uint8Array(32).fill(number);
  if (technology === "iroh") return createIrohAdapter({ secretKey, bind, relay: false, discovery: false });
  if (technology === "grpc") return createGrpcAdapter({ clock: systemClock, secretKey, bind });
  return network.createAdapter({ endpointId: idOf(number) });
};
const start = async (nodeId: number, adapter: TransportAdapter) => {
  const node = await startNode(nodeId, { adapter });
  nodes.push(node);
  return node;
};
const ready = (one: FixtureNode, two: FixtureNode) =>
  until(() => stateOf(one, two.nodeId) === "ready" && stateOf(two, one.nodeId) === "ready");

/** What one node sends arrives at the other; sent again as Raft does, because a transport may lose it. */
const passes = async (from: FixtureNode, to: FixtureNode) => {
  const before = to.received.value.length;
  await until(() => {
    from.transport.peers.send(asId(to.nodeId), heartbeat(from.nodeId, to.nodeId));
    return to.received.value.length > before;
  });
};

afterEach(async () => {
  await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
});

describe.each(["iroh", "grpc"] as const)("sessions over %s", (technology) => {
  it("live through collections of garbage", async () => {
    const [one, two] = [await start(1, adapterOf(technology, 111)), await start(2, adapterOf(technology, 112))];
    introduce([one, two]);
    await ready(one, two);
    const collect = collector();
    for (let round = 0; round < 30; round++) {
      collect();
      // What was found dead is finalized between the turns of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(one.transport.peers.send(asId(2), heartbeat(1, 2))).toBe(true);
      await one.transport.call(2, "echo", Uint8Array.of(round), { timeoutMs: 10_000 });
    }
    await two.received.until((all) => all.length === 30);
    expect([one.unreachable.value, two.unreachable.value]).toEqual([[], []]);
  });

  it("come back after each of a hundred broken connections, and leave none behind", async () => {
    const adapters = [121, 122].map((number) => createRecordingAdapter(adapterOf(technology, number)));
    const [left, right] = adapters as [(typeof adapters)[0], (typeof adapters)[0]];
    const [one, two] = [await start(1, left), await start(2, right)];
    introduce([one, two]);
    for (let round = 0; round < 100; round++) {
      await ready(one, two);
      const [side, adapter] = round % 2 === 0 ? [one, left] : [two, right];
      const breaks = side.unreachable.value.length;
      for (const connection of adapter.open) connection.close("the network broke");
      await until(() => side.unreachable.value.length > breaks);
    }
    await ready(one, two);
    await passes(one, two);
    await until(() => left.open.size === 1 && right.open.size === 1);
  });

  it("find each other when both nodes come back at once at each other's address", async () => {
    const [one, two] = [await start(1, adapterOf(technology, 131)), await start(2, adapterOf(technology, 132))];
    introduce([one, two]);
    await ready(one, two);
    const [oldOne = "", oldTwo = ""] = [one, two].map(({ transport }) => transport.addresses()[0]);
    await Promise.all([one.transport.close(), two.transport.close()]);
    const again = [
      await start(1, adapterOf(technology, 131, oldTwo)),
      await start(2, adapterOf(technology, 132, oldOne)),
    ] as const;
    // At first each has only the other's old address, which is its own now.
    for (const node of again) node.transport.setPeers([peerAt(one, oldOne), peerAt(two, oldTwo)]);
    await until(() =>
      again.every(({ transport }) => transport.sessions().every(({ lastError }) => lastError !== null)),
    );
    for (const node of again) node.transport.setPeers(again.map((other) => other.peer()));
    await ready(...again);
    await passes(again[0], again[1]);
    await passes(again[1], again[0]);
  });
});

describe.each(["iroh", "grpc", "memory"] as const)("a peer over %s", (technology) => {
  it("that does not read fills its own queue to the limit, and holds up nobody else", async () => {
    const [node, friend] = [await start(1, adapterOf(technology, 141)), await start(2, adapterOf(technology, 142))];
    const silent = adapterOf(technology, 143);
    await silent.listen((connection) => connection.close("it dials itself"));
    const peers = [node.peer(), friend.peer(), { nodeId: 3, endpointId: silent.endpointId, addresses: [] }];
    node.transport.setPeers(peers);
    friend.transport.setPeers(peers.slice(0, 2));
    await ready(node, friend);
    const { signal } = new AbortController();
    const connection = await silent.connect(node.peer(), "blixard/raft/1", { signal });
    const stream = await connection.openStream();
    const options = { frameBytesMax: transportLimits.frameBytesMax, compress: false };
    const frame = (payload: Uint8Array, hello: boolean) =>
      encodeFrame({ streamClass: "urgent", hello, payload }, options);
    await stream.write(frame(encodeHello({ nodeId: 3, toNodeId: 1, instance: 1, sequence: 1 }), true));
    await until(() => stateOf(node, 3) === "ready");
    const sessionOf = (peer: number) => node.transport.sessions().find(({ nodeId }) => nodeId === peer);
    const entry = new Uint8Array(256 * 1024).fill(7);
    let beats = 0;
    await until(() => {
      for (let at = 0; at < 8; at++) node.transport.peers.send(asId(3), append(1, 3, at + 1, entry));
      // It says that it lives, so that only the queue can stop what is sent to it.
      void stream.write(frame(new Uint8Array(), false)).catch(() => {});
      beats += node.transport.peers.send(asId(2), heartbeat(1, 2)) ? 1 : 0;
      return (sessionOf(3)?.droppedMessages ?? 0) > 0;
    });
    expect(sessionOf(3)?.queuedMessages).toBeLessThanOrEqual(transportLimits.queueBytesMax / entry.length);
    expect(node.unreachable.value).toContain(3);
    await friend.received.until((all) => all.length === beats);
    expect(node.unreachable.value).not.toContain(2);
    connection.close("enough");
    await silent.close();
  });

  it("that is dead does not delay one that lives", async () => {
    const adapter = createFaultyAdapter(adapterOf(technology, 151));
    const [node, dead] = [await start(1, adapter), await start(2, adapterOf(technology, 152))];
    const live = await start(3, adapterOf(technology, 153));
    introduce([node, dead, live]);
    await until(() => stateOf(node, 2) === "ready" && stateOf(node, 3) === "ready");
    adapter.setBlocked([dead.adapter.endpointId]);
    // Every message to the live one stands behind one to the dead one, while its session breaks and is dialled.
    for (let round = 0; !node.unreachable.value.includes(2) || stateOf(node, 2) !== "dialing" || round < 20; round++) {
      node.transport.peers.send(asId(2), append(1, 2, round + 1, new Uint8Array(10_000)));
      await passes(node, live);
    }
    expect(node.unreachable.value).not.toContain(3);
    expect(live.unreachable.value).toEqual([]);
    adapter.setBlocked([]);
  });
});

describe("a session", () => {
  it("sets no timer for a message", async () => {
    let timers = 0;
    const clock: Clock = {
      ...systemClock,
      setTimer: (delayMs, run) => {
        timers++;
        return systemClock.setTimer(delayMs, run);
      },
    };
    const deps = { random: seededRandom(4), logger: silentLogger, metrics: discardMetrics };
    const adapters = [161, 162].map((number) => adapterOf("memory", number));
    const transports = adapters.map((adapter, at) =>
      createTransport({ ...deps, clock, adapter }, { nodeId: at + 1, heartbeatMs: 5_000 }),
    );
    let received = 0;
    for (const transport of transports) {
      transport.peers.bind({ onMessage: () => received++, onUnreachable: () => {} });
      transport.serve({ call: async ({ payload }) => payload });
      await transport.start();
    }
    const peers = transports.map(({ endpointId, addresses }, at) => ({
      nodeId: at + 1,
      endpointId,
      addresses: addresses(),
    }));
    for (const transport of transports) transport.setPeers(peers);
    await until(() => transports.every((transport) => transport.sessions()[0]?.state === "ready"));
    const before = timers;
    for (let sent = 0; sent < 2_000; sent++) {
      transports[0]?.peers.send(asId(2), heartbeat(1, 2));
      if (sent % 50 === 49) await until(() => received === sent + 1);
    }
    expect(timers - before).toBeLessThan(20);
    await Promise.all(transports.map((transport) => transport.close()));
  });
});

function peerAt(node: FixtureNode, address: string) {
  return { nodeId: node.nodeId, endpointId: node.adapter.endpointId, addresses: [address] };
}

/** What `--expose-gc` would give this process. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
