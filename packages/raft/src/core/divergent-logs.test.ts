/**
 * How fast a leader finds the place where two logs agree: each rejection skips a whole term, in the follower's log and
 * in its own (the optimisation at the end of section 5.3 of the paper, made stronger as in etcd).
 */
import { describe, expect, it } from "@jest/globals";
import { CoreGroup } from "./testing/core-group.ts";
import { bytes, logOf } from "./testing/observe.ts";
import { asLogIndex, asNodeId, asTerm, type Message } from "./types.ts";

/** Puts entries of these terms behind the first one, which all nodes have in common. */
function holds(group: CoreGroup, id: number, terms: readonly number[]): void {
  const { storage } = group.node(id);
  const entries = terms.map((term, at) => ({
    ...{ term: asTerm(term), index: asLogIndex(at + 2), kind: "normal", data: bytes(`${term}/${at + 2}`) },
  })) as Parameters<typeof storage.append>[0];
  storage.append(entries);
  storage.hardState = { term: asTerm(6), vote: asNodeId(0), commit: asLogIndex(1) };
  group.restart(id);
}

describe("a leader whose log differs from that of a follower", () => {
  it.each([
    // The follower ends in a lower term than that of the probe: ours with its term or a lower one is the next to try.
    { what: "its own entries of later terms", leader: [3, 3, 3, 5, 5, 5, 5, 5], follower: [1, 1, 1, 2, 2], agree: 1 },
    // The follower has later terms than the probe: none of those entries can be ours.
    {
      what: "the follower's entries of later terms",
      leader: [3, 3, 3, 3, 3, 3, 3],
      follower: [3, 3, 4, 4, 5, 5],
      agree: 3,
    },
  ])("skips $what with one rejection", ({ leader, follower, agree }) => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    for (const id of [1, 3]) holds(group, id, leader);
    holds(group, 2, follower);
    group.core(1).campaign();
    const rejected: Message[] = [];
    const probes: Message[] = [];
    group.settle((message) => {
      if (message.type === "MsgAppResp" && message.reject) rejected.push(message);
      if (message.type === "MsgApp" && message.to === 2) probes.push(message);
      return true;
    });
    expect(rejected).toMatchObject([{ from: 2 }]);
    expect(probes[1]).toMatchObject({ index: agree });
    expect(logOf(group, 2)).toEqual(logOf(group, 1));
  });
});
