import { describe, expect, it } from "@jest/globals";
import type { RaftConfig } from "./raft-core.ts";
import { CoreGroup } from "./testing/core-group.ts";
import { asNodeId, type Message } from "./types.ts";

const payload = (bytes: number) => new Uint8Array(bytes).fill(120);
const dropped = expect.objectContaining({ code: "PROPOSAL_DROPPED" });

function elected(config: Partial<RaftConfig> = {}): CoreGroup {
  const group = new CoreGroup({ voters: [1, 2], config });
  group.elect(1);
  return group;
}
const progress = (group: CoreGroup) => group.core(1).status().progress[1];
const appends = (messages: readonly Message[]) =>
  messages.filter(({ type }) => type === "MsgApp").map(({ entries }) => entries.length);

/** Lets the leader send, and nothing arrive. */
function sendOnly(group: CoreGroup): number[] {
  group.process(1);
  const lengths = appends(group.network);
  group.network = [];
  return lengths;
}

describe("limits of append messages", () => {
  it("cut messages at maxSizePerMsg, and send the rest at once", () => {
    // An entry of 12 bytes of payload counts for 20.
    const group = elected({ maxSizePerMsg: 40 });
    group.core(1).reportUnreachable(asNodeId(2));
    for (let n = 0; n < 5; n++) group.core(1).propose(payload(12));
    expect(sendOnly(group)).toEqual([1]);
    group.tick(1);
    const lengths: number[] = [];
    group.settle((message) => {
      lengths.push(...appends([message]));
      return true;
    });
    expect(lengths.filter((length) => length > 0)).toEqual([2, 2, 1]);
  });

  it("send single entries with a limit of 0", () => {
    const group = elected({ maxSizePerMsg: 0 });
    group.core(1).propose(payload(12));
    group.core(1).propose(payload(12));
    expect(sendOnly(group)).toEqual([1, 1]);
  });

  it("pause at maxInflightMsgs until an answer or a heartbeat response", () => {
    const group = elected({ maxInflightMsgs: 2 });
    for (let n = 0; n < 4; n++) group.core(1).propose(payload(1));
    expect(sendOnly(group)).toEqual([1, 1]);
    expect(progress(group)).toMatchObject({ paused: true, inflight: 2, inflightFull: true });
    group.tick(1);
    // The empty append behind the lost ones is rejected, and so the entries are sent again.
    group.settle();
    expect(progress(group)).toMatchObject({ paused: false, inflight: 0, match: group.core(1).status().commit });
    expect(group.node(2).applied.at(-1)?.index).toBe(6);
  });

  it("pause at maxInflightBytes of payload, which one message may exceed", () => {
    const group = elected({ maxInflightBytes: 100 });
    for (const bytes of [60, 39, 1000, 1]) group.core(1).propose(payload(bytes));
    expect(sendOnly(group)).toEqual([1, 1, 1]);
    expect(progress(group)).toMatchObject({ inflight: 3, inflightFull: true });
  });
});

describe("limit of uncommitted entries", () => {
  it("drops proposals past the limit, with nothing changed, until entries are applied", () => {
    const group = elected({ maxUncommittedEntriesSize: 100 });
    group.core(1).propose(payload(60));
    group.core(1).propose(payload(40));
    const before = group.core(1).status();
    expect(() => group.core(1).propose(payload(1))).toThrow(dropped);
    expect(group.core(1).status()).toEqual(before);
    // Empty entries are free.
    group.core(1).propose(payload(0));
    group.settle();
    group.core(1).propose(payload(60));
  });

  it("takes all of some proposals, in one append, or none of them", () => {
    const group = elected({ maxUncommittedEntriesSize: 100 });
    const first = group.core(1).proposeAll([payload(30), payload(30)]);
    expect(first).toBe(group.core(1).status().commit + 1);
    expect(group.core(1).proposeConfChange({ version: 1, transition: "auto", changes: [] })).toBe((first ?? 0) + 2);
    const before = group.core(1).status();
    expect(() => group.core(1).proposeAll([payload(30), payload(30)])).toThrow(dropped);
    expect(group.core(1).status()).toEqual(before);
    expect(sendOnly(group)).toEqual([2, 1]);
  });

  it("takes one proposal of any size when nothing is uncommitted", () => {
    const group = elected({ maxUncommittedEntriesSize: 10 });
    group.core(1).propose(payload(500));
    expect(() => group.core(1).propose(payload(1))).toThrow(dropped);
  });

  it("counts a dropped configuration change as pending until its index is applied", () => {
    const refused: number[] = [];
    const group = elected({
      maxUncommittedEntriesSize: 10,
      onEvent: (event) => event.type === "confChangeRefused" && refused.push(event.index),
    });
    group.core(1).propose(payload(10));
    const changes = [{ op: "addLearner", id: asNodeId(3) }] as const;
    const change = { version: 2, transition: "auto", changes } as const;
    expect(() => group.core(1).proposeConfChange(change)).toThrow(dropped);
    group.settle();
    for (let tries = 0; tries < 2; tries++) {
      group.core(1).proposeConfChange(change);
      group.settle();
    }
    expect(refused).toEqual([4]);
    expect(group.node(1).storage.confState.learners).toEqual([3]);
  });
});

describe("limit of committed entries in a Ready", () => {
  it("hands out the next ones when the last ones were applied", () => {
    const group = elected({ maxCommittedSizePerReady: 40 });
    for (let n = 0; n < 5; n++) group.core(1).propose(payload(12));
    group.settle();
    const sizes: number[] = [];
    group.tick(1);
    group.deliverAll();
    for (let ready = group.process(2); ready !== undefined; ready = group.process(2)) {
      sizes.push(ready.committedEntries.length);
    }
    expect(group.node(1).applied).toHaveLength(6);
    expect(Math.max(0, ...sizes)).toBeLessThanOrEqual(2);
  });

  it("follows a message limit of 0, one entry at a time, and holds everything back when it is 0 itself", () => {
    const appliedWith = (config: Parameters<typeof elected>[0]) => {
      const group = elected(config);
      for (let n = 0; n < 3; n++) group.core(1).propose(payload(12));
      group.settle();
      return group.node(1).applied.length;
    };
    expect(appliedWith({ maxSizePerMsg: 0 })).toBe(4);
    expect(appliedWith({ maxSizePerMsg: 0, maxCommittedSizePerReady: 0 })).toBe(0);
  });

  it("counts what the apply thread has not finished", () => {
    const group = elected({ maxCommittedSizePerReady: 40, asyncStorageWrites: true });
    for (let n = 0; n < 5; n++) group.core(1).propose(payload(12));
    for (let round = 0; round < 10; round++) {
      for (const id of [1, 2]) {
        group.process(id);
        group.work(id, "append");
      }
      group.deliverAll();
    }
    expect(group.node(1).applyWork.map(({ entries }) => entries.length)).toEqual([2]);
    group.work(1, "apply");
    expect(group.process(1)?.messages.at(-1)).toMatchObject({ type: "MsgStorageApply", entries: { length: 2 } });
  });
});

describe("proposals", () => {
  it("are forwarded by followers", () => {
    const group = elected();
    group.core(2).propose(payload(3));
    group.settle();
    expect(group.node(2).applied.at(-1)).toMatchObject({ index: 3, term: 2 });
  });

  it("are dropped by followers that must not forward, and without a leader", () => {
    const group = elected({ disableProposalForwarding: true });
    expect(() => group.core(2).propose(payload(3))).toThrow(dropped);
    group.core(2).campaign();
    expect(() => group.core(2).propose(payload(3))).toThrow(dropped);
  });
});
