/** What a start makes of stores that a crash left between two steps. */
import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "../core/types.ts";
import { RaftGroup, type RaftMember } from "../testing/index.ts";
import { snapshotChunks } from "./recovery.ts";

/** Puts the newest snapshot of one node into the store of another, as a transfer does before anything else. */
async function saveSnapshotOf(source: RaftMember, target: RaftMember): Promise<number> {
  const meta = await source.snapshots.latest();
  if (meta === undefined) throw new Error("there is no snapshot");
  await target.snapshots.save(meta, snapshotChunks(source.snapshots, meta, 16));
  return meta.index;
}

describe("a start after a crash in the middle of installing a snapshot", () => {
  it("drops a log that holds other entries than those that the snapshot stands for", async () => {
    const group = await RaftGroup.start({ voters: 3, options: { snapshotEntries: 0, trailingEntries: 0 } });
    await group.propose("a");
    await group.waitForEqualState();
    const old = await group.waitForLeader();
    const others = [1, 2, 3].map(asNodeId).filter((id) => id !== old.id);
    group.network.partition([old.id], others);
    for (let count = 1; count <= 20; count++) old.node.propose(fromUtf8(`lost ${count}`)).catch(() => {});
    const next = await group.waitForLeader(old.id);
    for (const value of ["b", "c"]) await group.during(value, next.node.propose(fromUtf8(value)));
    await group.during("a snapshot", next.node.takeSnapshot());
    const { lastLogIndex, lastLogTerm } = old.node.status.value;
    await group.stop(old.id);
    const snapshotIndex = await saveSnapshotOf(next, old);
    // The place is in the log of the deposed leader, with an entry that was never committed.
    expect(lastLogIndex).toBeGreaterThan(snapshotIndex);
    expect((await next.snapshots.latest())?.term).toBeGreaterThan(lastLogTerm);

    group.network.heal();
    const { node, machine } = await group.restart(old.id);
    expect(node.status.value).toMatchObject({ lastLogIndex: snapshotIndex });
    expect(machine.values).toEqual(["a", "b", "c"]);
    await group.propose("d");
    await group.waitForEqualState();
    expect(machine.values).toEqual(["a", "b", "c", "d"]);
    await group.close();
  });
});
