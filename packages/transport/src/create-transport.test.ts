import { BlixardError, seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { frameBytesMin, serviceCallBytesMax } from "@blixard/protocol";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createGrpcAdapter } from "./grpc/index.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { createMemoryNetwork } from "./memory/index.ts";
import { createTestDualAdapter } from "./testing/dual-fixture.ts";
import { createFaultyAdapter, type FaultyAdapter } from "./testing/index.ts";
import {
  append,
  asId,
  echo,
  type FixtureNode,
  type FixtureOptions,
  heartbeat,
  introduce,
  startNode,
  stateOf,
  until,
} from "./testing/transport-fixture.ts";
import type { TransportAdapter } from "./transport-types.ts";

const technologies = ["memory", "iroh", "grpc", "dual"] as const;
const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });

describe.each(technologies)("createTransport over %s", (technology) => {
  const nodes: FixtureNode[] = [];
  const start = async (nodeId: number, options: Partial<FixtureOptions> = {}) => {
    const adapter = options.adapter ?? (await newAdapter(technology, nodeId));
    const node = await startNode(nodeId, { ...options, adapter });
    nodes.push(node);
    return node;
  };
  const pair = async () => {
    const both = [await start(1), await start(2)] as const;
    introduce(both);
    await until(() => stateOf(both[0], 2) === "ready" && stateOf(both[1], 1) === "ready");
    return both;
  };
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
  });

  it("does not take members for unknown peers before it knows who the members are", async () => {
    const [early, late] = [await start(1), await start(2)];
    early.transport.setPeers([early.peer(), late.peer()]);
    await until(() => (late.transport.refusals()["starting"] ?? 0) > 0);
    late.transport.setPeers([early.peer(), late.peer()]);
    await until(() => stateOf(early, 2) === "ready" && stateOf(late, 1) === "ready");
    expect(Object.keys(late.transport.refusals())).toEqual(["starting"]);
  });

  it("carries messages between all members, each with the id that the key is bound to", async () => {
    const members = [await start(1), await start(2), await start(3)];
    introduce(members);
    await until(() => members.every((node) => node.transport.sessions().every(({ state }) => state === "ready")));
    for (const from of members) {
      for (const to of members) {
        if (from !== to)
          expect(from.transport.peers.send(asId(to.nodeId), heartbeat(from.nodeId, to.nodeId))).toBe(true);
      }
    }
    for (const node of members) {
      const received = await node.received.until((all) => all.length === 2);
      const others = members.filter((other) => other !== node).map(({ nodeId }) => nodeId);
      expect(received.map(({ from }) => from).sort()).toEqual(others);
      expect(node.transport.refusals()).toEqual({});
    }
  });

  it("takes both keys of a node that changes from one to the other, and then the next one only", async () => {
    const one = await start(1);
    const before = await start(2);
    const after = { endpointId: (await newAdapter(technology, 22)).endpointId };
    const both = () => [one.peer(), { ...before.peer(), otherEndpointIds: [after.endpointId] }];
    one.transport.setPeers(both());
    before.transport.setPeers(both());
    await until(() => stateOf(one, 2) === "ready" && stateOf(before, 1) === "ready");
    await before.transport.close();
    const next = await start(2, { adapter: await newAdapter(technology, 22) });
    one.transport.setPeers([
      { ...next.peer(), endpointId: before.adapter.endpointId, otherEndpointIds: [after.endpointId] },
    ]);
    next.transport.setPeers([one.peer()]);
    const inUse = () => one.transport.sessions()[0];
    await until(() => inUse()?.instance === next.transport.instance && stateOf(next, 1) === "ready");
    expect(one.transport.peer(after.endpointId)?.nodeId).toBe(2);
    expect(await one.transport.call(2, "echo", Uint8Array.of(7), { timeoutMs: 60_000 })).toEqual(Uint8Array.of(7));
    // The connection of the next key stays when that is the only one.
    const { instance } = next.transport;
    one.transport.setPeers([{ ...next.peer(), addresses: next.transport.addresses() }]);
    expect(one.transport.sessions()).toMatchObject([{ state: "ready", instance, endpointId: after.endpointId }]);
    expect(one.transport.peer(before.adapter.endpointId)).toBeUndefined();
    await next.transport.close();
    const thief = await start(2, { adapter: await newAdapter(technology, 2) });
    thief.transport.setPeers([one.peer()]);
    await until(() => (one.transport.refusals()["unknown_peer"] ?? 0) > 0);
    expect(stateOf(one, 2)).not.toBe("ready");
  });

  it("ends the connection of a key that is the node's no more", async () => {
    const [one, two] = await pair();
    const next = "ab".repeat(32);
    one.transport.setPeers([{ ...two.peer(), otherEndpointIds: [next] }]);
    expect(stateOf(one, 2)).toBe("ready");
    one.transport.setPeers([{ ...two.peer(), endpointId: next }]);
    await until(() => (one.transport.refusals()["unknown_peer"] ?? 0) > 0);
    expect(stateOf(one, 2)).not.toBe("ready");
    expect(one.transport.peer(two.adapter.endpointId)).toBeUndefined();
  });

  it("keeps the order of appends, whatever the size", async () => {
    const [one, two] = await pair();
    const sizes = Array.from({ length: 60 }, (_, at) => (at % 7 === 0 ? 100_000 : 50));
    for (const [at, size] of sizes.entries()) {
      expect(one.transport.peers.send(asId(2), append(1, 2, at + 1, new Uint8Array(size).fill(at)))).toBe(true);
    }
    const received = await two.received.until((all) => all.length === sizes.length);
    const entries = received.flatMap(({ message }) => (message.type === "raft" ? message.message.entries : []));
    expect(entries.map(({ index }) => index)).toEqual(sizes.map((_, at) => at + 1));
    expect(entries.every((entry, at) => entry.kind === "normal" && entry.data.every((byte) => byte === at))).toBe(true);
  });

  it("reports the session, and that it broke when the peer goes", async () => {
    const [one, two] = await pair();
    expect(one.transport.sessions()).toMatchObject([
      {
        nodeId: 2,
        state: "ready",
        transport: technology === "dual" ? "iroh" : technology,
        path: "direct",
        queuedMessages: 0,
        lastError: null,
      },
    ]);
    const broken: string[] = [];
    one.transport.onBroken((endpointId) => broken.push(endpointId));
    await two.transport.close();
    await one.unreachable.until((all) => all.includes(2));
    expect(broken).toEqual([two.transport.endpointId]);
    expect(one.transport.peers.send(asId(2), heartbeat(1, 2))).toBe(false);
    expect(one.transport.sessions()[0]).toMatchObject({ path: "none", droppedMessages: 1 });
  });

  it("finds a peer that came back at another address", async () => {
    const [one, two] = await pair();
    const addressBefore = two.transport.addresses();
    await two.transport.close();
    const again = await start(2);
    expect(again.transport.addresses()).not.toEqual(addressBefore);
    one.transport.setPeers([one.peer(), again.peer()]);
    again.transport.setPeers([one.peer(), again.peer()]);
    await until(() => stateOf(one, 2) === "ready" && stateOf(again, 1) === "ready");
    one.transport.peers.send(asId(2), heartbeat(1, 2));
    await again.received.until((all) => all.length === 1);
  });

  it("refuses the Raft lane to a peer that is not a member", async () => {
    const [one] = await pair();
    const stranger = await start(3);
    stranger.transport.setPeers([one.peer()]);
    await until(() => (one.transport.refusals()["unknown_peer"] ?? 0) > 0);
    expect(stateOf(stranger, 1)).not.toBe("ready");
    expect(one.received.value).toEqual([]);
  });

  it("never connects to another endpoint than the member list names", async () => {
    const [one, two] = await pair();
    const three = await start(3);
    three.transport.setPeers([{ ...two.peer(), endpointId: one.adapter.endpointId }]);
    await until(() => three.transport.sessions()[0]?.lastError?.includes("another endpoint") === true);
  });

  it("drops and counts a message whose sender is not the owner of the key", async () => {
    const [one, two] = await pair();
    one.transport.peers.send(asId(2), heartbeat(7, 2));
    one.transport.peers.send(asId(2), heartbeat(1, 2));
    expect(await two.received.until((all) => all.length > 0)).toMatchObject([{ from: 1 }]);
    expect(two.transport.refusals()).toEqual({ forged_from: 1 });
    expect(stateOf(two, 1)).toBe("ready");
  });

  it("notices a peer that says nothing any more, and finds it again when the network heals", async () => {
    const adapter = createFaultyAdapter(await newAdapter(technology, 1));
    const [one, two] = [await start(1, { adapter }), await start(2)];
    introduce([one, two]);
    await until(() => stateOf(one, 2) === "ready" && stateOf(two, 1) === "ready");
    adapter.setBlocked([two.adapter.endpointId]);
    await one.unreachable.until((all) => all.includes(2));
    await two.unreachable.until((all) => all.includes(1));
    adapter.setBlocked([]);
    await until(() => stateOf(one, 2) === "ready" && stateOf(two, 1) === "ready");
    one.transport.peers.send(asId(2), heartbeat(1, 2));
    await two.received.until((all) => all.length > 0);
  });

  it("ends the session of a removed member, and refuses it from then on", async () => {
    const [one, two] = await pair();
    one.transport.setPeers([one.peer()]);
    await two.unreachable.until((all) => all.includes(1));
    expect(one.transport.sessions()).toEqual([]);
    await until(() => (one.transport.refusals()["unknown_peer"] ?? 0) > 0);
  });

  it("calls methods at members, in both directions over what is connected", async () => {
    const [one, two] = await pair();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        (at % 2 === 0 ? one : two).transport.call(at % 2 === 0 ? 2 : 1, "echo", new Uint8Array(at * 1000).fill(at), {
          timeoutMs: 10_000,
        }),
      ),
    );
    expect(answers.map(({ length }) => length)).toEqual(answers.map((_, at) => at * 1000));
  });

  it("lets a stranger call, and tells the handler so", async () => {
    const seen: unknown[] = [];
    const asked = await start(1, {
      handler: async ({ remote, method }) => {
        seen.push([method, remote]);
        return new Uint8Array();
      },
    });
    const stranger = await start(9);
    await stranger.transport.call(asked.peer(), "join", new Uint8Array(), { timeoutMs: 10_000 });
    expect(seen).toEqual([["join", { endpointId: stranger.adapter.endpointId, nodeId: undefined }]]);
  });

  it("brings the handler's error to the caller", async () => {
    const details = { leaderId: 3 };
    const asked = await start(1, {
      handler: () =>
        Promise.reject(new BlixardError("NOT_LEADER", "ask 3", { hint: "h", outcome: "not_applied", details })),
    });
    const caller = await start(2);
    await expect(
      caller.transport.call(asked.peer(), "x", new Uint8Array(), { timeoutMs: 10_000 }),
    ).rejects.toMatchObject({
      name: "BlixardError",
      code: "NOT_LEADER",
      message: "ask 3",
      hint: "h",
      outcome: "not_applied",
      details,
    });
  });

  it("ends a call at its deadline at both ends", async () => {
    let aborted = false;
    const asked = await start(1, {
      handler: async ({ method, payload }, signal) => {
        if (method === "echo") return payload;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        aborted = true;
        throw signal.reason;
      },
    });
    const caller = await start(2);
    // With a connection at hand the short deadline is one of the call, not of the dial.
    await caller.transport.call(asked.peer(), "echo", new Uint8Array(), { timeoutMs: 10_000 });
    const call = caller.transport.call(asked.peer(), "slow", new Uint8Array(), { timeoutMs: 300 });
    await expect(call).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", outcome: "unknown" });
    await until(() => aborted);
    // The connection goes on serving.
    const controller = new AbortController();
    const cancelled = caller.transport.call(asked.peer(), "slow", new Uint8Array(), {
      timeoutMs: 10_000,
      signal: controller.signal,
    });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("says UNREACHABLE, not applied, when nobody answers, and when the member is not known", async () => {
    const [one, two] = await pair();
    const dead = two.peer();
    await two.transport.close();
    const answer = { code: "UNREACHABLE", outcome: "not_applied" };
    await expect(one.transport.call(dead, "echo", new Uint8Array(), { timeoutMs: 10_000 })).rejects.toMatchObject(
      answer,
    );
    await expect(one.transport.call(8, "echo", new Uint8Array(), { timeoutMs: 10_000 })).rejects.toMatchObject(answer);
  });

  it("fails open calls when the peer vanishes, with an unknown outcome", async () => {
    const adapter: FaultyAdapter = createFaultyAdapter(await newAdapter(technology, 1));
    const one = await start(1, { adapter });
    let entered = false;
    const two = await start(2, {
      handler: () => {
        entered = true;
        return new Promise(() => {});
      },
    });
    introduce([one, two]);
    await until(() => stateOf(one, 2) === "ready");
    const call = one.transport.call(2, "hang", new Uint8Array(), { timeoutMs: 60_000 });
    call.catch(() => {});
    await until(() => entered);
    adapter.setBlocked([two.adapter.endpointId]);
    await expect(call).rejects.toMatchObject({ code: "UNREACHABLE", outcome: "unknown" });
  });

  it("carries the largest call and its answer in the smallest frames that it takes", async () => {
    const transport = { frameBytesMax: frameBytesMin };
    const [asked, caller] = [await start(1, { transport, handler: echo }), await start(2, { transport })];
    introduce([asked, caller]);
    const payload = new Uint8Array(serviceCallBytesMax).fill(7);
    const answer = await caller.transport.call(1, "m".repeat(128), payload, { timeoutMs: 30_000 });
    expect(Buffer.compare(answer, payload)).toBe(0);
  });

  it("refuses frames that the largest call does not fit into", async () => {
    const adapter = await newAdapter(technology, 1);
    const started = start(1, { adapter, transport: { frameBytesMax: frameBytesMin - 1 } });
    await expect(started).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      hint: `Allow at least ${frameBytesMin} bytes.`,
    });
    await adapter.close();
  });

  it("refuses a payload above the frame limit on the caller's side", async () => {
    const asked = await start(1);
    const caller = await start(2, { transport: { frameBytesMax: frameBytesMin } });
    const call = caller.transport.call(asked.peer(), "echo", new Uint8Array(frameBytesMin), { timeoutMs: 10_000 });
    await expect(call).rejects.toMatchObject({ code: "VALUE_TOO_LARGE", outcome: "not_applied" });
  });
});

async function newAdapter(technology: (typeof technologies)[number], nodeId: number): Promise<TransportAdapter> {
  const secretKey = new Uint8Array(32).fill(100 + nodeId);
  switch (technology) {
    case "iroh":
      return createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false });
    case "grpc":
      return createGrpcAdapter({ clock: systemClock, secretKey, bind: "127.0.0.1:0" });
    case "dual":
      return (await createTestDualAdapter(secretKey)).adapter;
    case "memory":
      return network.createAdapter({ endpointId: nodeId.toString(16).padStart(64, "0") });
    default:
      return technology satisfies never;
  }
}
