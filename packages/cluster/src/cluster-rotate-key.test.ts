/** A node gets another key in place, wherever it crashes meanwhile, and nobody takes the one of before. */
import { errorCodeOf, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import {
  encodeServiceCall,
  forwardRpcMethod,
  keyChangeBytes,
  type MethodName,
  type RequestOf,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { nodeKey } from "./state-machine/state.ts";
import { ClusterGroup, clusterId, MemoryKeyFile, until } from "./testing/cluster-group.ts";
import { madeUpSignatures } from "./testing/made-up-signatures.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const keysOf = (id: number): MemoryKeyFile => {
  const machine = group.machine(id);
  machine.keys ??= new MemoryKeyFile(endpointIdOf(id));
  return machine.keys;
};
const recordOf = (id: number, at = 1) => group.node(at).state.nodes.get(nodeKey(id));
const crashed = (): never => {
  throw new Error("the process was killed");
};

async function form(): Promise<void> {
  for (const id of [1, 2, 3, 4]) keysOf(id);
  await group.form(3);
  await group.join(4, await group.ticket({ role: "worker" }));
}

/** What a process with this key is told at node `to`. */
async function ask<Name extends MethodName>(to: number, key: string, name: Name, request: RequestOf<Name>) {
  const { transport, leave } = group.network.join(90, key);
  const payload = encodeServiceCall({ name, request, meta: group.meta() });
  const place = { endpointId: keysOf(to).key, addresses: [`127.0.0.1:${7_000 + to}`] };
  const code = await transport.call(place, name, payload, { timeoutMs: 5_000 }).then(
    () => "OK",
    (error: unknown) => errorCodeOf(error) ?? "none",
  );
  leave();
  return code;
}

/** Waits until all others have the new key in their state, and the node serves under it. */
async function untilRotated(id: number, before: string, number: number): Promise<void> {
  const { key } = keysOf(id);
  expect(key).not.toBe(before);
  await until(() =>
    group.nodes().every(({ state }) => {
      const record = state.nodes.get(nodeKey(id));
      return record?.endpointId === key && record.keyNumber === number && record.nextKey === undefined;
    }),
  );
  await group.node(id).untilReady();
  for (const to of [1, 2, 3].filter((other) => other !== id)) {
    expect([to, await ask(to, before, "status.get", {})]).toEqual([to, "REMOVED"]);
  }
  await group.call(id === 4 ? 1 : id, "kv.put", { key: `by-${id}`, value: String(number) });
}

describe("the key of a node", () => {
  it.each([
    ["a follower", 2],
    ["a leader", 1],
    ["a worker", 4],
  ])("changes in place, twice: of %s", async (_, id) => {
    await form();
    for (const number of [1, 2]) {
      const { key: before } = keysOf(id);
      const answer = await group.call(3, "node.rotateKey", { id });
      expect(answer).toMatchObject({ nodeId: id, endpointId: expect.not.stringMatching(before) });
      await until(() => keysOf(id).key === answer.endpointId);
      // Both are its keys until it runs with the next one.
      expect(recordOf(id, 3)).toMatchObject({ endpointId: before, nextKey: { endpointId: answer.endpointId } });
      await group.restart(id);
      await untilRotated(id, before, number);
    }
  });

  it.each(["before it was offered", "before the file changed", "after the file changed", "before it heard the answer"])(
    "changes though the node crashes %s",
    async (when) => {
      await form();
      const keys = keysOf(2);
      const { key: before } = keys;
      if (when === "before it was offered") {
        group.network.beforeAnswer = (_, to, method) => to === 2 && method === forwardRpcMethod && crashed();
        await expect(group.call(1, "node.rotateKey", { id: 2 })).rejects.toMatchObject({ outcome: expect.anything() });
        group.network.beforeAnswer = () => {};
        expect([keys.key, keys.nextKey]).toEqual([before, expect.any(String)]);
        await group.restart(2);
        await until(() => group.leader() !== undefined && group.node(2).ready().ready);
      }
      if (when === "before the file changed") {
        let tries = 0;
        keys.beforeUse = () => {
          tries++;
          crashed();
        };
        await group.call(1, "node.rotateKey", { id: 2 });
        await until(() => tries > 0);
        keys.beforeUse = () => {};
        await group.restart(2);
      } else {
        const { nextKey } = keys;
        const { endpointId } = await group.call(1, "node.rotateKey", { id: 2 });
        // Who asks again gets the same key.
        if (nextKey !== undefined) expect(endpointId).toBe(nextKey);
      }
      await until(() => keys.key !== before);
      if (when === "before it heard the answer") {
        group.network.beforeAnswer = (_, __, method) => method === "node.useKey" && crashed();
        await group.restart(2);
        await until(() => recordOf(2)?.keyNumber === 1);
        group.network.beforeAnswer = () => {};
      }
      await group.restart(2);
      await untilRotated(2, before, 1);
    },
  );

  it("waits until every member knows the next one, and is not rotated while one is silent", async () => {
    await form();
    const { key: before } = keysOf(2);
    group.network.passes = (to) => to !== 4;
    await group.call(1, "node.rotateKey", { id: 2 });
    await group.call(1, "kv.put", { key: "a", value: "1" });
    await until(() => recordOf(2, 3)?.nextKey !== undefined);
    expect([keysOf(2).key, recordOf(2, 4)?.nextKey]).toEqual([before, undefined]);
    group.network.passes = () => true;
    await until(() => keysOf(2).key !== before);
    await group.restart(2);
    await untilRotated(2, before, 1);
    await group.machine(4).stop();
    group.machine(4).node = undefined;
    while ((await group.call(1, "node.get", { id: 4 })).state !== "unreachable") await sleep(systemClock, 20);
    await expect(group.call(1, "node.rotateKey", { id: 3 })).rejects.toMatchObject({
      ...{ code: "CONFLICT", message: expect.stringContaining("node 4 does not answer"), outcome: "not_applied" },
    });
  });

  it("does not wait for what a worker says that it cannot reach", async () => {
    await form();
    const { key: before } = keysOf(2);
    group.network.beforeCall = (from, to) => {
      if (from === 2 && to === 4) crashed();
    };
    await group.call(1, "node.rotateKey", { id: 2 });
    await until(() => keysOf(2).key !== before);
    // A voter has to say so itself.
    const { key: other } = keysOf(3);
    group.network.beforeCall = (from, to) => {
      if (from === 3 && to === 1) crashed();
    };
    await group.restart(2);
    await untilRotated(2, before, 1);
    await group.call(1, "node.rotateKey", { id: 3 });
    await until(() => recordOf(3, 4)?.nextKey !== undefined);
    expect(keysOf(3).key).toBe(other);
    group.network.beforeCall = () => {};
    await until(() => keysOf(3).key !== other);
  });

  it("lets a node in that joins later and replays the log in which the key was another one", async () => {
    await group.bootstrap();
    await group.machine(1).stop();
    group.machine(1).keys = new MemoryKeyFile(endpointIdOf(1));
    await group.restart(1);
    await group.node(1).untilReady();
    await group.call(1, "node.rotateKey", { id: 1 });
    await until(() => keysOf(1).key !== endpointIdOf(1));
    await group.restart(1);
    await until(() => recordOf(1)?.keyNumber === 1);
    const text = await group.ticket({ role: "worker" });
    await group.join(2, text);
    expect(group.node(2).state.nodes.get(nodeKey(1))?.endpointId).toBe(keysOf(1).key);
  });

  it("is not changed by what its keys have not signed for this node, number and admission", async () => {
    await form();
    const { key } = keysOf(2);
    const { endpointId: next } = await group.call(1, "node.rotateKey", { id: 2 });
    const change = { nodeId: 2, incarnation: 1, number: 1, endpointId: key, nextEndpointId: next };
    const signed = (by: string, half: "offer" | "use", about: typeof change, cluster = clusterId) =>
      Buffer.from(madeUpSignatures(by).sign(keyChangeBytes(half, cluster, about))).toString("hex");
    const leader = group.leaderId();
    const tell = (about: typeof change, signature: string, by = key) =>
      ask(leader, by, "node.useKey", { change: about, signature });
    expect([
      await tell(change, signed(key, "use", change)),
      await tell(change, signed(next, "offer", change)),
      await tell(change, signed(next, "use", change, "another")),
      await tell(change, signed(next, "use", { ...change, number: 2 })),
      await tell(change, signed(next, "use", change), keysOf(3).key),
    ]).toEqual(Array(5).fill("PERMISSION_DENIED"));
    for (const wrong of [{ number: 2 }, { incarnation: 2 }, { endpointId: keysOf(3).key }]) {
      const about = { ...change, ...wrong };
      expect([wrong, await tell(about, signed(next, "use", about))]).toEqual([wrong, "CONFLICT"]);
    }
    expect(recordOf(2)).toMatchObject({ endpointId: key, nextKey: { endpointId: next } });
  });
});
