/** What a peer that breaks the rules can do: lose its own connection, and be counted. Over every technology. */

import { onAbort, seededRandom, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { decodeRpcFrame, encodeRpcFrame, encodeValue, type RpcFrame } from "@blixard/protocol";
import { encodePeerMessages } from "@blixard/protocol/peer-messages";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { encodeFrame, FrameReader, frameHeaderBytes } from "./frames/frame.ts";
import { createGrpcAdapter } from "./grpc/index.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { encodeHello } from "./session/hello.ts";
import { CountingMetrics } from "./testing/counting-metrics.ts";
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
  const clientKeys = new Set<string>();
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
  const hello = (nodeId: number, toNodeId = 1) =>
    frameOf(encodeHello({ nodeId, toNodeId, instance: 5, sequence: 1 }), true);

  beforeEach(async () => {
    [node, friend, hostile] = [
      await startNode(1, { adapter: adapterOf(61), says: { isClientKey: (key) => clientKeys.has(key) } }),
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
    clientKeys.clear();
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

  it("of a later release keeps its connections, and what nobody here can read is counted and left out", async () => {
    const raft = await dial("blixard/raft/1");
    const laterBatch = frameOf(Uint8Array.of(2, 1, 9));
    const laterMessage = frameOf(Uint8Array.of(1, 1, 5));
    await write(raft, hello(3), laterBatch, laterMessage, frameOf(encodePeerMessages([heartbeat(3, 1)])));
    await node.received.until((all) => all.some(({ from }) => from === 3));
    const rpc = await dial("blixard/rpc/1");
    const laterFrame = frameOf(Uint8Array.of(16, 7, 1, 2));
    await write(rpc, laterFrame, frameOf(encodeRpcFrame({ type: "ping", id: 1 })));
    expect(await (await rpc.acceptStream())?.read(1_024)).toBeDefined();
    expect(node.transport.refusals()).toEqual({ unsupported_version: 3 });
    const { lastError, state } = node.transport.sessions().find(({ nodeId }) => nodeId === 3) ?? {};
    expect([state, lastError]).toEqual(["ready", expect.stringContaining("message tag 5 needs a later release")]);
    await expectUnharmed();
  });

  it("loses its connection for the greeting of a later release, whatever its form, and hears which it needs", async () => {
    for (const greeting of [[2, 3, 1], [9, { node: "three" }], [3]]) {
      const connection = await dial("blixard/raft/1");
      await write(connection, frameOf(encodeValue(greeting), true));
      expect(await connection.closed).toContain("needs a later release");
    }
    expect(node.transport.refusals()).toEqual({ unsupported_version: 3 });
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

  describe("without a key that has rights", () => {
    const largestBytes = transportLimits.rpcStrangerFrameBytesMax;
    const normalFrame = (payload: Uint8Array) =>
      encodeFrame({ streamClass: "normal", hello: false, payload }, frameOptions);
    /** A call whose frame has so many bytes. */
    const call = (bytes: number, id = 1) => {
      const empty = { type: "request", id, method: "echo", timeoutMs: 10_000, payload: new Uint8Array() } as const;
      const payload = new Uint8Array(bytes - encodeRpcFrame(empty).length);
      return normalFrame(encodeRpcFrame({ ...empty, payload }));
    };
    const answersOn = async (connection: Connection, count: number) => {
      const answers: RpcFrame[] = [];
      const stream = await connection.acceptStream();
      const reader = new FrameReader(frameOptions);
      while (answers.length < count) {
        const bytes = await stream?.read(65_536);
        if (bytes === undefined) break;
        // The first one says what the node can read.
        const frames = [...reader.push(bytes)].map(({ payload }) => decodeRpcFrame(payload));
        answers.push(...frames.filter(({ type }) => type !== "pong"));
      }
      return answers;
    };
    const friends = () => [node.peer(), friend.peer()];
    const withHostile = () => [...friends(), { nodeId: 3, endpointId: hostile.endpointId, addresses: [] }];

    it("loses its connection at the header of a frame that only a member may send", async () => {
      node.transport.setPeers(friends());
      const allowed = await dial("blixard/rpc/1");
      await write(allowed, call(largestBytes));
      expect(await answersOn(allowed, 1)).toMatchObject([{ type: "response" }]);
      const connection = await dial("blixard/rpc/1");
      await write(connection, call(largestBytes + 1).subarray(0, frameHeaderBytes));
      await connection.closed;
      expect(node.transport.refusals()).toEqual({ frame_too_large: 1 });
      await expectUnharmed();
    });

    it.each([
      ["a member", () => node.transport.setPeers(withHostile())],
      ["a client's key", () => clientKeys.add(hostile.endpointId)],
    ])("may send more on the same connection from the moment on at which it is %s", async (_, give) => {
      node.transport.setPeers(friends());
      const connection = await dial("blixard/rpc/1");
      const stream = await connection.openStream();
      await stream.write(call(100));
      expect(await answersOn(connection, 1)).toMatchObject([{ type: "response" }]);
      give();
      await stream.write(call(1024 * 1024, 2));
      expect(await answersOn(connection, 1)).toMatchObject([{ type: "response", id: 2 }]);
      expect(node.transport.refusals()).toEqual({});
    });

    it("may answer at length whoever asks it, also over a connection that it has made itself", async () => {
      const stranger = await startNode(4, { adapter: adapterOf(64) });
      const patient = { timeoutMs: 60_000 };
      await stranger.transport.call(node.peer(), "echo", new Uint8Array(1), patient);
      const answer = await node.transport.call(stranger.peer(), "echo", new Uint8Array(1024 * 1024), patient);
      expect(answer).toHaveLength(1024 * 1024);
      expect(node.transport.refusals()).toEqual({});
      await stranger.transport.close();
    });

    it("loses its connection when it opens more streams than a stranger needs", async () => {
      node.transport.setPeers(friends());
      const connection = await dial("blixard/rpc/1");
      for (let n = 0; n <= transportLimits.rpcStrangerStreamsMax; n++) {
        await write(connection, new Uint8Array(1)).catch(() => {});
      }
      await connection.closed;
      expect(node.transport.refusals()).toEqual({ too_many_streams: 1 });
      await expectUnharmed();
    });
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

describe("strangers together", () => {
  const keyOf = (number: number) => number.toString(16).padStart(64, "0");
  const evicted = "blixard_connections_evicted_total rpc_stranger";

  it("compete for places on the RPC lane only with each other, and the silent ones lose theirs to newcomers", async () => {
    const metrics = new CountingMetrics();
    const client = network.createAdapter({ endpointId: keyOf(80) });
    const held = new Watch(0);
    const node = await startNode(1, {
      adapter: network.createAdapter({ endpointId: keyOf(81) }),
      says: { isClientKey: (key) => key === client.endpointId },
      handler: async ({ method, payload }, signal) => {
        if (method !== "hold") return payload;
        held.set(held.value + 1);
        return await new Promise((_, reject) => onAbort(signal, () => reject(signal.reason)));
      },
      metrics,
      transport: { strangersMax: 8 },
    });
    const dial = (from: TransportAdapter) => from.connect(node.peer(), "blixard/rpc/1", { signal: never() });
    const ping = async (connection: Connection) => {
      await write(connection, frameOf(encodeRpcFrame({ type: "ping", id: 1 })));
      expect(await (await connection.acceptStream())?.read(1_024)).toBeDefined();
    };
    const known = await dial(client);
    const [greedy, other] = [90, 91].map((number) => network.createAdapter({ endpointId: keyOf(number) }));
    if (greedy === undefined || other === undefined) throw new Error("no adapters");
    const theirs: Connection[] = [];
    for (let each = 0; each < 4; each++) theirs.push(await dial(greedy));
    const [busy, silent] = theirs;
    const hold: RpcFrame = { type: "request", id: 1, method: "hold", timeoutMs: 60_000, payload: new Uint8Array() };
    if (busy !== undefined) await write(busy, frameOf(encodeRpcFrame(hold)));
    await held.until((count) => count === 1);
    for (let each = 0; each < 3; each++) await dial(other);
    // The eighth place, and one for which somebody has to go.
    for (const number of [98, 99]) await ping(await dial(network.createAdapter({ endpointId: keyOf(number) })));
    expect(await silent?.closed).toContain("others needed its place");
    await ping(known);
    expect(metrics.count(evicted)).toBe(1);
    expect(node.transport.refusals()).toEqual({});
    expect(node.transport.sessions()).toEqual([]);
    await node.transport.close();
  });

  it.each(["iroh", "grpc"] as const)("share by address over %s, however many keys they have", async (technology) => {
    const metrics = new CountingMetrics();
    const adapters: TransportAdapter[] = [];
    const adapterOf = (number: number) => {
      const options = { secretKey: new Uint8Array(32).fill(number), bind: "127.0.0.1:0" };
      const iroh = () => createIrohAdapter({ ...options, relay: false, discovery: false });
      const adapter = technology === "iroh" ? iroh() : createGrpcAdapter({ ...options, clock: systemClock });
      adapters.push(adapter);
      return adapter;
    };
    const node = await startNode(1, { adapter: adapterOf(70), metrics, transport: { strangersMax: 3 } });
    const friend = await startNode(2, { adapter: adapterOf(71) });
    node.transport.setPeers([friend.peer()]);
    friend.transport.setPeers([node.peer()]);
    const dial = (from: TransportAdapter) => from.connect(node.peer(), "blixard/rpc/1", { signal: never() });
    const held: Connection[] = [];
    const [first, second, third] = [adapterOf(100), adapterOf(101), adapterOf(102)];
    for (const from of [first, second, second, third]) held.push(await dial(from));
    await held[0]?.closed;
    expect(metrics.count(evicted)).toBe(1);
    const joiner = await startNode(3, { adapter: adapterOf(72) });
    for (const from of [joiner, friend]) {
      const answer = await from.transport.call(node.peer(), "echo", Uint8Array.of(7), { timeoutMs: 30_000 });
      expect([...answer]).toEqual([7]);
    }
    expect(metrics.count(evicted)).toBe(2);
    await Promise.all([node, friend, joiner].map(({ transport }) => transport.close()));
    await Promise.all(adapters.map((adapter) => adapter.close()));
  });
});

async function write(connection: Connection, ...parts: readonly Uint8Array[]): Promise<void> {
  const stream = await connection.openStream();
  for (const part of parts) await stream.write(part);
}
