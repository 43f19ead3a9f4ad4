/** What a peer that breaks the rules can do: lose its own connection, and be counted. Over every technology. */

import { seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { encodePeerMessages } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { encodeFrame } from "./frame.ts";
import { createGrpcAdapter } from "./grpc/index.ts";
import { encodeHello } from "./hello.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { asId, type FixtureNode, heartbeat, startNode, stateOf, until } from "./testing/transport-fixture.ts";
import { transportLimits } from "./transport-limits.ts";
import type { Connection, Lane, TransportAdapter } from "./transport-types.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });
const frameOptions = { frameBytesMax: transportLimits.frameBytesMax, compress: false };
const frameOf = (payload: Uint8Array, hello = false) =>
  encodeFrame({ streamClass: "urgent", hello, payload }, frameOptions);
const never = () => new AbortController().signal;

describe.each(["memory", "iroh", "grpc"] as const)("a hostile peer over %s", (technology) => {
  let node: FixtureNode;
  let friend: FixtureNode;
  let hostile: TransportAdapter;
  const adapterOf = (number: number): TransportAdapter => {
    const options = { secretKey: new Uint8Array(32).fill(number), bind: "127.0.0.1:0" };
    if (technology === "iroh") return createIrohAdapter({ ...options, relay: false, discovery: false });
    if (technology === "grpc") return createGrpcAdapter({ ...options, clock: systemClock });
    return network.createAdapter({ endpointId: number.toString(16).padStart(64, "0") });
  };
  const dial = (lane: Lane) => hostile.connect(node.peer(), lane, { signal: never() });
  /** The node still works for its friend. */
  const expectUnharmed = async () => {
    await until(() => stateOf(node, 2) === "ready");
    friend.transport.peers.send(asId(1), heartbeat(2, 1));
    await node.received.until((all) => all.some(({ from }) => from === 2));
    await friend.transport.call(1, "echo", new Uint8Array(1), { timeoutMs: 10_000 });
  };
  const write = async (connection: Connection, ...parts: readonly Uint8Array[]) => {
    const stream = await connection.openStream();
    for (const part of parts) await stream.write(part);
  };
  const hello = (nodeId: number, toNodeId = 1) =>
    frameOf(encodeHello({ nodeId, toNodeId, incarnation: 5, sequence: 1 }), true);

  beforeEach(async () => {
    [node, friend, hostile] = [
      await startNode(1, { adapter: adapterOf(61) }),
      await startNode(2, { adapter: adapterOf(62) }),
      adapterOf(63),
    ];
    await hostile.listen((connection) => connection.close("not today"));
    const three = { nodeId: 3, endpointId: hostile.endpointId, addresses: [] };
    node.transport.setPeers([node.peer(), friend.peer(), three]);
    friend.transport.setPeers([node.peer(), friend.peer()]);
    await until(() => stateOf(node, 2) === "ready" && stateOf(friend, 1) === "ready");
  });
  afterEach(async () => {
    await Promise.all([node.transport.close(), friend.transport.close(), hostile.close()]);
  });

  const corrupted = frameOf(Uint8Array.of(1, 0));
  corrupted[corrupted.length - 1] = 9;
  const oversized = Uint8Array.from(frameOf(new Uint8Array()));
  new DataView(oversized.buffer).setUint32(4, 0x7fff_ffff);
  it.each<[string, string, Uint8Array]>([
    ["bytes that are no frames", "bad_frame", new Uint8Array(1000).fill(0xaa)],
    ["a frame whose checksum is wrong", "bad_frame", corrupted],
    ["a frame that claims 2 GiB", "frame_too_large", oversized],
    ["a frame of another version", "unsupported_version", Uint8Array.of(0x42, 0x58, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
  ])("loses its connection for %s, on both lanes", async (_, refusal, bytes) => {
    for (const lane of ["blixard/raft/1", "blixard/rpc/1"] as const) {
      const connection = await dial(lane);
      await write(connection, bytes);
      await connection.closed;
    }
    expect(node.transport.refusals()).toEqual({ [refusal]: 2 });
    await expectUnharmed();
  });

  it("loses its connection for a greeting in another node's name, or to another node", async () => {
    for (const greeting of [hello(2), hello(3, 7)]) {
      const connection = await dial("blixard/raft/1");
      await write(connection, greeting);
      await connection.closed;
    }
    expect(node.transport.refusals()).toEqual({ wrong_node: 2 });
    await expectUnharmed();
  });

  it("cannot speak in another node's name after the greeting", async () => {
    const connection = await dial("blixard/raft/1");
    await write(connection, hello(3), frameOf(encodePeerMessages([heartbeat(2, 1), heartbeat(3, 1)])));
    await node.received.until((all) => all.length === 1);
    expect(node.received.value).toMatchObject([{ from: 3, message: { message: { from: 3 } } }]);
    expect(node.transport.refusals()).toEqual({ forged_from: 1 });
    await expectUnharmed();
  });

  it("is not heard before the greeting, and loses its connection for a second one", async () => {
    const connection = await dial("blixard/raft/1");
    await write(connection, frameOf(encodePeerMessages([heartbeat(3, 1)])), hello(3), hello(3));
    await connection.closed;
    expect(node.received.value).toEqual([]);
    expect(node.transport.refusals()).toEqual({ bad_frame: 1 });
    await expectUnharmed();
  });

  it("loses its connection when it never greets", async () => {
    const connection = await dial("blixard/raft/1");
    await write(connection, new Uint8Array(1));
    await connection.closed;
    await expectUnharmed();
  });

  it("is held to a few connections on each lane", async () => {
    for (const lane of ["blixard/raft/1", "blixard/rpc/1"] as const) {
      const connections = await Promise.all(Array.from({ length: 12 }, () => dial(lane)));
      await Promise.any(connections.map(({ closed }) => closed));
      expect(node.transport.refusals()["too_many_connections"]).toBeGreaterThan(0);
      for (const connection of connections) connection.close("enough");
    }
    await expectUnharmed();
  });

  it("loses its connection when it opens more streams than it may", async () => {
    const connection = await dial("blixard/rpc/1");
    const open = async () => {
      for (let n = 0; n <= transportLimits.incomingStreamsMax; n++) await write(connection, new Uint8Array(1));
    };
    await Promise.all([connection.closed, open().catch(() => {})]);
    expect(node.transport.refusals()).toEqual({ too_many_streams: 1 });
    await expectUnharmed();
  });
});
