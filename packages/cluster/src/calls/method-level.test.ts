/** Methods and streams that came with a level, in a cluster with a member that is below it. */
import { forwardRpcMethod, type Method, methods, type StreamMethod, streams } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { clusterLevel } from "../state-machine/level.ts";
import { ClusterGroup, until } from "../testing/cluster-group.ts";

const [oldLevel, newLevel] = [2, 3];
/** The contract of a release that brought these with its level. */
const later = [methods["kv.list"], methods["status.get"], methods["vm.create"], streams["kv.watch"]] as readonly {
  since?: (Method | StreamMethod)["since"];
}[];

let group: ClusterGroup;
beforeEach(async () => {
  for (const method of later) method.since = newLevel;
  group = new ClusterGroup({ featureLevel: oldLevel });
  await group.form(2);
  group.machine(1).options = { featureLevel: newLevel };
  await (await group.restart(1)).untilReady();
});
afterEach(async () => {
  for (const method of later) delete method.since;
  await group.close();
});

const held = {
  code: "NEEDS_UPGRADE",
  outcome: "not_applied",
  message: `this needs feature level ${newLevel}, and the cluster is at ${oldLevel}: node 2 runs release 0.0.0-test`,
};
const below = { code: "NEEDS_UPGRADE", message: expect.stringContaining(`this node understands ${oldLevel}`) };
const spec = { vcpus: 1, memoryMiB: 64, image: "demo" };

describe("a method above the level of the cluster", () => {
  it("is refused by every member like a command, before anything is asked or passed on", async () => {
    const sent: string[] = [];
    group.network.beforeCall = (_, __, method) => void sent.push(method);
    await expect(group.call(1, "kv.list", {})).rejects.toMatchObject(held);
    await expect(group.call(1, "vm.create", { name: "w", spec })).rejects.toMatchObject(held);
    await expect(group.call(2, "vm.create", { name: "w", spec })).rejects.toMatchObject(below);
    const scope = { signal: new AbortController().signal };
    await expect(group.node(1).stream("kv.watch", {}, group.meta(), scope)).rejects.toMatchObject(held);
    await expect(group.node(2).stream("kv.watch", {}, group.meta(), scope)).rejects.toMatchObject(below);
    expect(sent).not.toContain(forwardRpcMethod);
    await group.call(2, "kv.put", { key: "k", value: "v" });
  });

  it("is answered by a node that knows it and has all of the answer, and is not asked of the others", async () => {
    const asked: string[] = [];
    group.network.beforeCall = (_, __, method) => void asked.push(method);
    expect(await group.call(1, "status.get", {})).toMatchObject({ nodeId: 1 });
    await expect(group.call(2, "status.get", {})).rejects.toMatchObject(below);
    await until(() => group.leaderId() !== 0);
    await group.call(group.leaderId(), "node.list", {});
    // The others are asked for their paths in the name of the caller.
    expect(asked).not.toContain(forwardRpcMethod);
  });

  it("is answered by all when the level has risen", async () => {
    group.machine(2).options = { featureLevel: newLevel };
    await (await group.restart(2)).untilReady();
    await until(() => group.nodes().every(({ state }) => clusterLevel(state) === newLevel));
    for (const id of [1, 2]) expect(await group.call(id, "kv.list", {})).toMatchObject({ items: [] });
  });
});
