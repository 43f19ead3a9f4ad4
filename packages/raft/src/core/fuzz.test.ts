/**
 * Messages that no sound peer sends, in any order: the core may refuse them with a code, and nothing else may happen.
 */
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { newMessage } from "./messages.ts";
import { CoreGroup } from "./testing/core-group.ts";
import { asLogIndex, asNodeId, asTerm, type Entry, type Message, type MessageType, type Snapshot } from "./types.ts";

const types: MessageType[] = [
  ...(["MsgHup", "MsgBeat", "MsgProp", "MsgApp", "MsgAppResp", "MsgVote", "MsgVoteResp", "MsgSnap"] as const),
  ...(["MsgHeartbeat", "MsgHeartbeatResp", "MsgUnreachable", "MsgSnapStatus", "MsgCheckQuorum"] as const),
  ...(["MsgTransferLeader", "MsgTimeoutNow", "MsgReadIndex", "MsgReadIndexResp", "MsgPreVote"] as const),
  ...(["MsgPreVoteResp", "MsgStorageAppend", "MsgStorageApply", "MsgForgetLeader"] as const),
];
const refusals = new Set(["STEP_LOCAL_MSG", "STEP_PEER_NOT_FOUND", "PROPOSAL_DROPPED"]);

const small = fc.oneof({ weight: 9, arbitrary: fc.nat({ max: 6 }) }, fc.constantFrom(-1, 2.5, 1e15, 2 ** 53));
const entry: fc.Arbitrary<Entry> = fc.tuple(small, small, fc.boolean()).map(([term, index, change]) => ({
  term: asTerm(term),
  index: asLogIndex(index),
  ...(change
    ? ({ kind: "confChange", change: { version: 2, transition: "auto", changes: [] } } as const)
    : ({ kind: "normal", data: new Uint8Array(3) } as const)),
}));
const ids = fc.array(fc.nat({ max: 4 }).map(asNodeId), { maxLength: 3 });
const snapshot: fc.Arbitrary<Snapshot> = fc.record({
  index: small.map(asLogIndex),
  term: small.map(asTerm),
  confState: fc.record({ voters: ids, votersOutgoing: ids, learners: ids, learnersNext: ids, autoLeave: fc.boolean() }),
  data: fc.constant(new Uint8Array()),
});
const message: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constantFrom(...types),
    from: fc.nat({ max: 4 }),
    term: small,
    logTerm: small,
    index: small,
    commit: small,
    rejectHint: small,
    reject: fc.boolean(),
    entries: fc.array(entry, { maxLength: 3 }),
    snapshot: fc.option(snapshot, { nil: undefined }),
    context: fc.option(fc.uint8Array({ maxLength: 9 }), { nil: undefined }),
  })
  .map(({ type, from, term, ...rest }) =>
    newMessage(type, asNodeId(from), asNodeId(1), asTerm(term), {
      logTerm: asTerm(rest.logTerm),
      index: asLogIndex(rest.index),
      commit: asLogIndex(rest.commit),
      rejectHint: asLogIndex(rest.rejectHint),
      reject: rest.reject,
      entries: rest.entries,
      ...(rest.snapshot && { snapshot: rest.snapshot }),
      ...(rest.context && { context: rest.context }),
    }),
  );

describe("RaftCore.step under fuzz", () => {
  it.each(["StateFollower", "StateCandidate", "StateLeader"])("refuses with a code or takes it (%s)", (role) => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 25 }), fc.boolean(), (messages, asyncStorageWrites) => {
        const group = new CoreGroup({ voters: [1, 2, 3], config: { asyncStorageWrites } });
        if (role === "StateLeader") group.elect(1);
        if (role === "StateCandidate") group.core(1).campaign();
        expect(group.core(1).status().role).toBe(role);
        let { term, commit } = group.core(1).status();
        for (const sent of messages) {
          try {
            group.core(1).step(sent);
          } catch (error) {
            expect(refusals).toContain((error as { code?: string }).code);
          }
          group.process(1);
          const now = group.core(1).status();
          expect(now.term).toBeGreaterThanOrEqual(term);
          expect(now.commit).toBeGreaterThanOrEqual(commit);
          ({ term, commit } = now);
        }
      }),
      { numRuns: 400 },
    );
  });
});
