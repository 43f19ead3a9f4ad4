/** Two processes with one key: the newest start is the node, over every way in which they can meet. */
import { seededRandom, toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { encodeValue } from "@blixard/protocol";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createMemoryNetwork } from "../memory/index.ts";
import { asId, type FixtureNode, heartbeat, startNode, stateOf, until } from "../testing/transport-fixture.ts";
import { decodeHello, encodeHello } from "./hello.ts";
import { isOutdated, type NodeStart, newestStart, type SeenStart } from "./node-start.ts";

const seen = (incarnation: number, starts: number, instance = 0): SeenStart => ({ incarnation, starts, instance });

describe("isOutdated", () => {
  it("orders by incarnation, then by start, and tells two processes of one start apart", () => {
    expect(isOutdated(seen(1, 3, 7), seen(1, 4))).toBe(true);
    expect(isOutdated(seen(1, 9, 7), seen(2, 1))).toBe(true);
    expect(isOutdated(seen(1, 3, 7), seen(1, 3, 8))).toBe(true);
    for (const older of [seen(1, 3, 7), seen(1, 3), seen(1, 2, 8)]) {
      expect(isOutdated(seen(1, 3, 7), older)).toBe(false);
    }
  });

  it("keeps the newest, and the process of it once that is known", () => {
    expect(newestStart(seen(1, 3), seen(1, 3, 7))).toEqual(seen(1, 3, 7));
    expect(newestStart(seen(1, 3, 7), seen(1, 3, 8))).toEqual(seen(1, 3, 7));
    expect(newestStart(seen(1, 3, 7), seen(1, 3))).toEqual(seen(1, 3, 7));
    expect(newestStart(seen(1, 3, 7), seen(2, 1, 9))).toEqual(seen(2, 1, 9));
  });
});

describe("a hello", () => {
  it("is written so that older releases read it, and theirs is read", () => {
    const hello = { nodeId: 2, toNodeId: 1, instance: 5, sequence: 3 };
    const full = { ...hello, start: { incarnation: 1, starts: 4 }, known: seen(2, 300, 9) };
    expect(toHex(encodeHello(full))).toBe("9a01020105030104" + "02cd012c09");
    expect(decodeHello(encodeHello(full))).toEqual(full);
    expect(decodeHello(encodeHello(hello))).toEqual(hello);
    expect(decodeHello(encodeValue([1, 2, 1, 5, 3]))).toEqual(hello);
  });
});

describe("a process that is not the newest start of its node", () => {
  const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(4) });
  const nodes: FixtureNode[] = [];
  const start = async (nodeId: number, now: NodeStart) => {
    const adapter = network.createAdapter({ endpointId: nodeId.toString(16).padStart(64, "0") });
    const node = await startNode(nodeId, { adapter, says: { start: () => now } });
    nodes.push(node);
    return node;
  };
  const is = (starts: number, incarnation = 1): NodeStart => ({ incarnation, starts });
  const introduced = async (one: FixtureNode, two: FixtureNode) => {
    one.transport.setPeers([two.peer()]);
    two.transport.setPeers([one.peer()]);
    await until(() => stateOf(one, two.nodeId) === "ready" && stateOf(two, one.nodeId) === "ready");
  };
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
  });

  it("is pushed out by the newer one, told so, and not heard", async () => {
    const member = await start(1, is(1));
    const older = await start(2, is(3));
    await introduced(member, older);
    const copy = await start(2, is(4));
    await introduced(member, copy);
    expect(await older.outdated.until((by) => by !== undefined)).toBe(1);
    const before = member.received.value.length;
    for (let round = 0; round < 20; round++) older.transport.peers.send(asId(1), heartbeat(2, 1));
    copy.transport.peers.send(asId(1), heartbeat(2, 1, { commit: 7 } as never));
    await member.received.until((all) => all.length > before);
    expect(member.received.value.slice(before)).toMatchObject([{ message: { message: { commit: 7 } } }]);
    expect(member.transport.refusals()["older_start"]).toBeGreaterThan(0);
    expect([member.outdated.value, copy.outdated.value]).toEqual([undefined, undefined]);
  });

  it.each([
    ["the record of the node", is(3), { start: is(4) }],
    ["the record of its next incarnation", is(9), { start: is(1, 2) }],
  ])("is found out by %s, also when the connection stood before", async (_, start3, recorded) => {
    const member = await start(1, is(1));
    const older = await start(2, start3);
    await introduced(member, older);
    member.transport.setPeers([{ ...older.peer(), ...recorded }]);
    expect(await older.outdated.until((by) => by !== undefined)).toBe(1);
    expect(member.outdated.value).toBeUndefined();
  });

  it("is the second of two that started as the same one", async () => {
    const member = await start(1, is(1));
    const first = await start(2, is(3));
    await introduced(member, first);
    const second = await start(2, is(3));
    second.transport.setPeers([member.peer()]);
    expect(await second.outdated.until((by) => by !== undefined)).toBe(1);
    expect(first.outdated.value).toBeUndefined();
    await introduced(member, first);
  });

  it("is told by the member that it dials as well as by the one that dials it", async () => {
    const member = await start(3, is(1));
    const older = await start(2, is(3));
    member.transport.setPeers([{ ...older.peer(), start: is(5) }]);
    older.transport.setPeers([{ ...member.peer(), addresses: ["memory:none"] }]);
    await older.outdated.until((by) => by !== undefined);
    const again = await start(2, is(4));
    again.transport.setPeers([member.peer()]);
    await again.outdated.until((by) => by !== undefined);
  });
});
