/** A leader whose snapshot cannot be read any more makes another one, and goes on. */
import { BlixardError } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "../core/types.ts";
import { RaftGroup } from "../testing/index.ts";

describe("a leader that needs its damaged snapshot for a follower", () => {
  it("sends one that it made anew, and keeps leading", async () => {
    const group = await RaftGroup.start({ voters: 3, options: { snapshotEntries: 0, trailingEntries: 0 } });
    await group.propose("a");
    await group.waitForEqualState();
    const leader = await group.waitForLeader();
    const behind = [1, 2, 3].map(asNodeId).find((id) => id !== leader.id);
    if (behind === undefined) throw new Error("there are followers");
    await group.stop(behind);
    for (const value of ["b", "c"]) await group.propose(value);
    await group.during("a snapshot", leader.node.takeSnapshot());
    const { snapshots } = leader;
    const [read, save] = [snapshots.read.bind(snapshots), snapshots.save.bind(snapshots)];
    let saves = 0;
    let refusals = 0;
    snapshots.save = (...given) => {
      saves++;
      return save(...given);
    };
    snapshots.read = async (...given) => {
      if (saves > 0) return read(...given);
      refusals++;
      throw new BlixardError("STORAGE_CORRUPT", "the checksum of a chunk does not match");
    };
    const { role, term } = leader.node.status.value;
    const { machine } = await group.restart(behind);
    await group.waitForEqualState();
    expect(machine.values).toEqual(["a", "b", "c"]);
    expect([refusals, saves]).toEqual([1, 1]);
    expect(leader.node.status.value).toMatchObject({ role, term });
    await group.close();
  });
});
