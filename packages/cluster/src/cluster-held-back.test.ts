/** Voters that others refuse at their start, in clusters over a network in memory. */
import { toHex } from "@blixard/common";
import { decodeServiceResponse, encodeServiceResponse } from "@blixard/protocol";
import { MemoryLogStore } from "@blixard/raft/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { ClusterNode } from "./cluster-node-types.ts";
import { ClusterGroup, until } from "./testing/cluster-group.ts";
import { MemoryStateStore } from "./testing/memory-state-store.ts";

let group: ClusterGroup;
/** Questions about their stores that were answered, by who asked. */
let asked: number[];

beforeEach(() => {
  group = new ClusterGroup();
  asked = [];
});
afterEach(async () => {
  group.network.passes = () => true;
  await group.close();
});

/** Voters with stores whose starts are counted. The first leads. */
async function form(count: number): Promise<void> {
  for (let id = 1; id <= count; id++) {
    group.machine(id).store = { storeId: toHex(group.random.bytes(16)), starts: 1 };
  }
  group.network.answerOf = (from, to, method, answer) => {
    if (method !== "node.verify") return answer;
    asked[from] = (asked[from] ?? 0) + 1;
    const verdict = lies(to, from);
    if (verdict === undefined) return answer;
    return encodeServiceResponse({ ...(decodeServiceResponse(answer) as object), ...verdict });
  };
  await group.form(count);
  if (group.leaderId() !== 1) await group.call(group.leaderId(), "leader.transfer", { to: 1 });
  await until(() => group.leaderId() === 1);
  const starts = ({ state }: ClusterNode) => [...state.nodes.values()].map((node) => node.starts);
  await until(() => group.nodes().every((node) => starts(node).every((known) => known === 1)));
}

/** What a voter says about another one against the truth. */
let lies: (by: number, about: number) => object | undefined = () => undefined;
const behind = { verdict: "behind", reason: "it lies" };
beforeEach(() => {
  lies = () => undefined;
});

/** A copy of the stores of a node as they are now. */
async function copyOf(id: number) {
  const machine = group.machine(id);
  const { base, hardState, entries } = await machine.log.load();
  const log = new MemoryLogStore();
  await log.load();
  await log.reset(base, hardState);
  await log.append({ entries });
  const { applied, records } = await machine.stateStore.load();
  const stateStore = new MemoryStateStore();
  await stateStore.replaceAll(applied, records);
  return { log, stateStore };
}

/** Starts a node that was stopped; the start may never end. */
function startAgain(id: number, starts: number): Promise<ClusterNode> {
  const machine = group.machine(id);
  machine.store = { storeId: machine.store?.storeId ?? "", starts };
  const started = group.restart(id);
  started.catch(() => {});
  return started;
}

const heldBack = (id: number) => group.machine(id).heldBack?.reason;
const read = (id: number, key: string) => group.call(id, "kv.get", { key });

/** So many more rounds of questions. */
async function untilAskedAgain(id: number, rounds = 2): Promise<void> {
  const before = asked[id] ?? 0;
  await until(() => (asked[id] ?? 0) >= before + 2 * rounds);
}

describe("a voter of three that was restored from an old copy", () => {
  it("takes no part while one voter remembers more, and what it had acknowledged is not lost", async () => {
    await form(3);
    const copy = await copyOf(3);
    group.network.cut(2, true);
    await group.call(1, "kv.put", { key: "late", value: "acknowledged by 1 and 3" });
    await group.machine(3).stop();
    Object.assign(group.machine(3), copy);
    // Node 1 answers questions, and its Raft is cut off: nodes 2 and 3 together could elect one of them.
    group.network.passes = (to, envelope) => to !== 1 && (envelope.type !== "raft" || envelope.message.from !== 1);
    group.network.cut(2, false);
    await until(() => group.leaderId() === 0);
    void startAgain(3, 2);
    await until(() => heldBack(3) !== undefined);
    await untilAskedAgain(3);
    expect(group.leaderId()).toBe(0);
    expect(heldBack(3)).toMatch(/^held back by voter 1: .* it had acknowledged \d+; asking voter 1, voter 2$/);

    // With node 2 caught up, node 1 still says that node 3 has forgotten something.
    group.network.passes = () => true;
    await until(() => group.leaderId() !== 0);
    expect(await read(2, "late")).toMatchObject({ value: "acknowledged by 1 and 3" });
    await until(() => heldBack(3)?.endsWith("asking voter 1") === true);
    expect(group.machine(3).node).toBeUndefined();
  });

  it("ends when both others know of a later start", async () => {
    await form(3);
    await group.machine(3).stop();
    await expect(startAgain(3, 1)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });
});

describe("a voter about which one other voter lies", () => {
  it("does not end, serves nothing but its status, and goes on when the others agree", async () => {
    await form(3);
    lies = (by, about) => (by === 1 && about === 2 ? behind : undefined);
    await group.machine(2).stop();
    const started = startAgain(2, 2);
    await until(() => heldBack(2) !== undefined);
    const held = group.machine(2).heldBack;
    const status = await held?.call("status.get", {}, group.meta());
    expect(status).toMatchObject({ nodeId: 2, leaderId: null, role: "follower", heldBack: heldBack(2) });
    expect(status?.heldBack).toContain("node 1 says that it lies");
    await expect(held?.call("kv.get", { key: "k" }, group.meta())).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("held back by voter 1"),
    });
    await expect(held?.call("status.get", {}, group.meta({ access: "anyone" }))).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    await untilAskedAgain(2);
    expect(group.machine(2).node).toBeUndefined();

    lies = () => undefined;
    const node = await started;
    await node.untilReady();
    expect(node.status()).not.toHaveProperty("heldBack");
  });

  it("is let in by a majority of the other voters while the lie lasts", async () => {
    await form(4);
    lies = (by, about) => (by === 2 && about === 4 ? behind : undefined);
    await group.machine(4).stop();
    const node = await startAgain(4, 2);
    await node.untilReady();
    await group.call(4, "kv.put", { key: "k", value: "v" });
  });

  it("goes on when nobody says any more that it runs elsewhere", async () => {
    await form(3);
    lies = (by, about) => (by === 1 && about === 3 ? { verdict: "running", reason: "it runs" } : undefined);
    await group.machine(3).stop();
    const started = startAgain(3, 2);
    await until(() => heldBack(3) !== undefined);
    lies = () => undefined;
    await (await started).untilReady();
  });
});

describe("voters that start together", () => {
  it("wait for nobody when nobody refuses them", async () => {
    await form(3);
    for (const id of [1, 2, 3]) await group.machine(id).stop();
    const started = [2, 3].map((id) => startAgain(id, 2));
    await Promise.all(started);
    await until(() => group.leaderId() !== 0);
    expect([heldBack(2), heldBack(3)]).toEqual([undefined, undefined]);
  });

  it("go on without the word of one that refuses all the others", async () => {
    await form(3);
    await group.call(1, "kv.put", { key: "k", value: "v" });
    await until(() => [1, 2, 3].every((id) => group.node(id).state.kv.has("k")));
    lies = (by, about) => (by === 1 && about !== 1 ? behind : undefined);
    for (const id of [1, 2, 3]) await group.machine(id).stop();
    const [, two, three] = [1, 2, 3].map((id) => startAgain(id, 2));
    await Promise.all([two, three].map(async (started) => (await started)?.untilReady()));
    expect([2, 3].some((id) => heldBack(id)?.startsWith("held back by voter 1"))).toBe(true);
    expect(await read(2, "k")).toMatchObject({ value: "v" });
  });

  it("do not when two were restored from old copies, and the third has what they have acknowledged", async () => {
    await form(3);
    const copies = [await copyOf(2), await copyOf(3)] as const;
    await group.call(1, "kv.put", { key: "late", value: "v" });
    await until(() => [1, 2, 3].every((id) => group.node(id).state.kv.has("late")));
    for (const id of [2, 3]) await group.machine(id).stop();
    Object.assign(group.machine(2), copies[0]);
    Object.assign(group.machine(3), copies[1]);
    for (const id of [2, 3]) void startAgain(id, 2);
    await until(() => heldBack(2) !== undefined && heldBack(3) !== undefined);
    await Promise.all([untilAskedAgain(2), untilAskedAgain(3)]);
    expect([group.machine(2).node, group.machine(3).node]).toEqual([undefined, undefined]);
  });
});
