import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  brokenInvariant,
  type ConfChangeBase,
  changeMembership,
  enterJoint,
  leaveJoint,
  type Membership,
  restoreMembership,
  simpleChange,
} from "./conf-change.ts";
import { asLogIndex, asNodeId, type ConfChangeOp, type ConfState, type NodeId } from "./types.ts";

const options = { inflightMessagesMax: 4, inflightBytesMax: 1000 };
const add = (id: number): ConfChangeOp => ({ op: "addVoter", id: asNodeId(id) });
const learn = (id: number): ConfChangeOp => ({ op: "addLearner", id: asNodeId(id) });
const remove = (id: number): ConfChangeOp => ({ op: "remove", id: asNodeId(id) });

type Fields = Partial<Record<"voters" | "votersOutgoing" | "learners" | "learnersNext", number[]>>;

const confState = (fields: Fields, autoLeave = false): ConfState => ({
  voters: (fields.voters ?? []).map(asNodeId),
  votersOutgoing: (fields.votersOutgoing ?? []).map(asNodeId),
  learners: (fields.learners ?? []).map(asNodeId),
  learnersNext: (fields.learnersNext ?? []).map(asNodeId),
  autoLeave,
});

const base = (membership: Membership): ConfChangeBase => ({ ...membership, lastIndex: asLogIndex(20), options });
const start = (fields: Fields): ConfChangeBase => base(restoreMembership(confState(fields), asLogIndex(20), options));

describe("simpleChange", () => {
  it("adds, promotes, demotes and removes one voter", () => {
    const one = start({ voters: [1, 2] });
    expect(simpleChange(one, [add(3)]).config.voters).toEqual([1, 2, 3]);
    expect(simpleChange(one, [learn(3)]).config).toMatchObject({ voters: [1, 2], learners: [3] });
    expect(simpleChange(one, [learn(2)]).config).toMatchObject({ voters: [1], learners: [2] });
    expect(simpleChange(one, [remove(2)]).config.voters).toEqual([1]);
  });

  it("adds any number of learners", () => {
    expect(simpleChange(start({ voters: [1] }), [learn(4), learn(3)]).config.learners).toEqual([3, 4]);
  });

  it("ignores the id 0, updates, and unknown nodes that leave", () => {
    const changes: ConfChangeOp[] = [add(0), { op: "update", id: asNodeId(1) }, remove(9)];
    expect(simpleChange(start({ voters: [1] }), changes).config.voters).toEqual([1]);
  });

  it("refuses what would not be safe, and says why with a code", () => {
    const two = start({ voters: [1, 2] });
    const refused = (changes: ConfChangeOp[]) => expect(() => simpleChange(two, changes));
    refused([add(3), add(4)]).toThrow("more than one voter changed");
    refused([remove(1), add(3)]).toThrow("more than one voter changed");
    refused([remove(1), remove(2)]).toThrow(expect.objectContaining({ code: "CONF_CHANGE_INVALID" }));
    expect(two.config.voters).toEqual([1, 2]);
  });

  it("keeps the progress of those who stay", () => {
    const one = start({ voters: [1], learners: [2] });
    const learner = one.progress.get(asNodeId(2));
    const promoted = simpleChange(one, [add(2)]).progress.get(asNodeId(2));
    expect(promoted).toBe(learner);
    expect(promoted?.learner).toBe(false);
  });

  it("leaves no trace of a refused change", () => {
    const one = start({ voters: [1], learners: [2, 3] });
    expect(() => simpleChange(one, [add(2), add(3)])).toThrow("more than one voter");
    expect([...one.progress.values()].map(({ learner }) => learner)).toEqual([false, true, true]);
  });
});

describe("enterJoint and leaveJoint", () => {
  it("keep the old voters in the outgoing half until the end", () => {
    const joint = enterJoint(start({ voters: [1, 2, 3] }), true, [add(4), remove(1), learn(2)]);
    expect(joint.config).toEqual(confState({ voters: [3, 4], votersOutgoing: [1, 2, 3], learnersNext: [2] }, true));
    expect(leaveJoint(base(joint)).config).toEqual(confState({ voters: [3, 4], learners: [2] }));
    expect([...leaveJoint(base(joint)).progress.keys()].sort()).toEqual([2, 3, 4]);
  });

  it("refuse to nest, to leave nothing, and to start without voters", () => {
    const joint = base(enterJoint(start({ voters: [1] }), false, [add(2)]));
    expect(() => enterJoint(joint, false, [add(3)])).toThrow("already joint");
    expect(() => simpleChange(joint, [add(3)])).toThrow("in joint config");
    expect(() => leaveJoint(start({ voters: [1] }))).toThrow("non-joint");
    expect(() => enterJoint(start({}), false, [add(1)])).toThrow("zero-voter");
  });
});

describe("changeMembership", () => {
  const change = (version: 1 | 2, transition: "auto" | "implicit" | "explicit", changes: ConfChangeOp[]) =>
    changeMembership(start({ voters: [1, 2] }), { version, transition, changes }).config;

  it("uses joint consensus when it is asked to or has to", () => {
    expect(change(1, "auto", [add(3)]).votersOutgoing).toEqual([]);
    expect(change(2, "auto", [add(3)]).votersOutgoing).toEqual([]);
    expect(change(2, "auto", [add(3), remove(1)])).toMatchObject({ votersOutgoing: [1, 2], autoLeave: true });
    expect(change(2, "implicit", [add(3)])).toMatchObject({ votersOutgoing: [1, 2], autoLeave: true });
    expect(change(2, "explicit", [add(3)])).toMatchObject({ votersOutgoing: [1, 2], autoLeave: false });
  });
});

/** What each node is, and nothing else: the last word on a node counts. Undefined where the change is not allowed. */
function slowChange(before: ConfState, joint: boolean, changes: readonly ConfChangeOp[]): ConfState | undefined {
  if (before.votersOutgoing.length > 0 || (joint && before.voters.length === 0)) return undefined;
  const everybody = [1, 2, 3, 4, 5, 6].map(asNodeId);
  const roleAfter = (id: NodeId): string => {
    const words = changes.filter((change) => change.id === id && change.op !== "update");
    const old = before.voters.includes(id) ? "addVoter" : before.learners.includes(id) ? "addLearner" : "remove";
    return words.at(-1)?.op ?? old;
  };
  const voters = everybody.filter((id) => roleAfter(id) === "addVoter");
  const learning = everybody.filter((id) => roleAfter(id) === "addLearner");
  const changed = everybody.filter((id) => voters.includes(id) !== before.voters.includes(id));
  if (voters.length === 0 || (!joint && changed.length > 1)) return undefined;
  const waits = (id: NodeId) => joint && before.voters.includes(id);
  return {
    voters,
    votersOutgoing: joint ? before.voters : [],
    learners: learning.filter((id) => !waits(id)),
    learnersNext: learning.filter(waits),
    autoLeave: false,
  };
}

function slowLeave(before: ConfState): ConfState | undefined {
  if (before.votersOutgoing.length === 0) return undefined;
  const learners = [...before.learners, ...before.learnersNext].sort((a, b) => a - b);
  return { ...before, votersOutgoing: [], learners, learnersNext: [], autoLeave: false };
}

describe("any sequence of changes", () => {
  const op = fc.record({
    op: fc.constantFrom<ConfChangeOp["op"]>("addVoter", "addLearner", "remove", "update"),
    id: fc.integer({ min: 1, max: 6 }).map(asNodeId),
  });
  const action = fc.record({
    kind: fc.constantFrom("simple", "enter", "leave"),
    changes: fc.array(op, { maxLength: 4 }),
  });

  it("agrees with the slow obvious version", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
        let now: Membership = start({ voters: [1, 2, 3], learners: [4] });
        for (const { kind, changes } of actions) {
          const slow = kind === "leave" ? slowLeave(now.config) : slowChange(now.config, kind === "enter", changes);
          let fast: Membership | undefined;
          try {
            if (kind === "simple") fast = simpleChange(base(now), changes);
            else if (kind === "enter") fast = enterJoint(base(now), false, changes);
            else fast = leaveJoint(base(now));
          } catch {
            fast = undefined;
          }
          expect(fast?.config).toEqual(slow);
          now = fast ?? now;
        }
      }),
      { numRuns: 300 },
    );
  });

  it("keeps the invariants, changes one voter at a time, and can be restored", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30 }), (actions) => {
        let now: Membership = start({ voters: [1, 2, 3] });
        for (const { kind, changes } of actions) {
          const before = now.config;
          try {
            if (kind === "simple") now = simpleChange(base(now), changes);
            else if (kind === "enter") now = enterJoint(base(now), false, changes);
            else now = leaveJoint(base(now));
          } catch (error) {
            expect((error as { code?: string }).code).toBe("CONF_CHANGE_INVALID");
            expect(now.config).toBe(before);
            continue;
          }
          const { config, progress } = now;
          const members = new Set([...config.voters, ...config.votersOutgoing, ...config.learners]);
          expect(brokenInvariant(config)).toBeUndefined();
          expect(new Set(progress.keys())).toEqual(members);
          for (const id of members) expect(progress.get(id)?.learner).toBe(config.learners.includes(id));
          expect(restoreMembership(config, asLogIndex(1), options).config).toEqual(config);
          if (kind !== "enter") continue;
          expect(config.votersOutgoing).toEqual(before.voters);
        }
      }),
      { numRuns: 300 },
    );
  });
});
