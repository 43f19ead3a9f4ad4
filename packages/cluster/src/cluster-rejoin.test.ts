/** A member that lost its store lives through the log of its own past once more, and must not act on it. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

let group: ClusterGroup | undefined;
afterEach(() => group?.close());

describe("ClusterNode: coming back without a store", () => {
  it("is no leader for being the only voter of an old configuration, and ends up with what the others have", async () => {
    group = new ClusterGroup({ raft: { appendMessageBytesMax: 1 } });
    const { machine, node } = { machine: group.machine.bind(group), node: group.node.bind(group) };
    await group.form(3);
    await group.call(1, "kv.put", { key: "k", value: "before" });
    await machine(1).stop();
    await until(() => [2, 3].includes(group?.leaderId() ?? 0));
    // For a while the founder gets the first entry only: that it is the only voter.
    let heardSince = 0;
    group.network.passes = (to, envelope) => {
      if (to !== 1 || envelope.type !== "raft" || heardSince >= 3) return true;
      const { type, entries } = envelope.message;
      const { lastLogIndex, appliedIndex } = machine(1).node?.status() ?? { lastLogIndex: 0, appliedIndex: 0 };
      if (type === "MsgHeartbeat" && appliedIndex >= 1) heardSince++;
      return lastLogIndex === 0 || entries.every(({ index }) => index <= 1);
    };
    const founder = await group.rejoin(1);
    await until(() => heardSince >= 3 || founder.isLeader());
    expect(founder.isLeader()).toBe(false);
    expect(machine(1).seed).toMatchObject({ incarnation: 2, admission: { index: expect.any(Number) } });
    await founder.untilReady();
    await group.untilVoters(3);
    const { index } = await group.call(1, "kv.put", { key: "k", value: "after" });
    await until(() => [1, 2, 3].every((id) => node(id).status().appliedIndex >= index));
    expect([1, 2, 3].map((id) => node(id).state.kv.get("k")?.value)).toEqual(["after", "after", "after"]);
    expect([1, 2, 3].map((id) => machine(id).fatal)).toEqual([undefined, undefined, undefined]);
    expect(founder.incarnation).toBe(2);
  });

  it("is not let in while another voter that lost its store has not caught up, and nothing of what is left changes", async () => {
    group = new ClusterGroup();
    await group.form(3);
    await group.call(1, "kv.put", { key: "k", value: "acknowledged" });
    await until(() => group?.leaderId() !== 0);
    const keeper = group.leaderId();
    const [first = 0, second = 0] = [1, 2, 3].filter((id) => id !== keeper);

    // The first one is out of the configuration, and gets nothing of the log.
    await group.machine(first).stop();
    group.network.passes = (to) => to !== first;
    await group.rejoin(first);
    const { voters } = await group.call(keeper, "status.get", {}).then(({ members }) => ({
      voters: members.filter(({ role }) => role === "voter").length,
    }));
    expect(voters).toBe(2);
    await group.machine(second).stop();
    await expect(group.rejoin(second)).rejects.toMatchObject({ name: "BlixardError" });

    const { state } = group.node(keeper);
    const recordOf = (id: number) => [...state.nodes.values()].find((node) => node.id === id);
    expect(recordOf(first)?.incarnation).toBe(2);
    expect([recordOf(second)?.incarnation, recordOf(second)?.rejoining]).toEqual([1, undefined]);
    expect(state.kv.get("k")?.value).toBe("acknowledged");
  });

  it("lets nobody in whose store is as empty as that of a majority", async () => {
    group = new ClusterGroup();
    await group.form(3);
    await group.call(1, "kv.put", { key: "k", value: "acknowledged" });
    await until(() => group?.leaderId() !== 0);
    const keeper = group.leaderId();
    const lost = [1, 2, 3].filter((id) => id !== keeper);
    for (const id of lost) await group.machine(id).stop();
    const outcomes = await Promise.allSettled(lost.map((id) => group?.rejoin(id)));
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    const { state } = group.node(keeper);
    for (const { incarnation, rejoining } of state.nodes.values())
      expect([incarnation, rejoining]).toEqual([1, undefined]);
    expect(state.kv.get("k")?.value).toBe("acknowledged");
  });
});
