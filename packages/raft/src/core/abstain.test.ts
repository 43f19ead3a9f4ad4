import { describe, expect, it } from "@jest/globals";
import { newMessage } from "./messages.ts";
import { CoreGroup } from "./testing/core-group.ts";
import { asLogIndex, asNodeId, asTerm, type Message, type MessageType } from "./types.ts";

const [one, two] = [asNodeId(1), asNodeId(2)];
const message = (type: MessageType, term: number, fields: Partial<Message> = {}): Message => ({
  ...newMessage(type, two, one, asTerm(term)),
  ...fields,
});

/** Node 1 stands in a configuration of the past, which is entry 1; its admission is entry 3. */
function abstaining(voters: readonly number[]): CoreGroup {
  return new CoreGroup({ voters, config: { admission: { index: asLogIndex(3), term: asTerm(1) } } });
}

/** A leader sends entries 2 and 3. */
function append(group: CoreGroup, term: number, commit: number): void {
  const entries = [2, 3].map((index) => {
    return { index: asLogIndex(index), term: asTerm(1), kind: "normal", data: new Uint8Array() } as const;
  });
  const before = { index: asLogIndex(1), logTerm: asTerm(1) };
  group.core(1).step(message("MsgApp", term, { ...before, entries, commit: asLogIndex(commit) }));
  process(group);
}

function process(group: CoreGroup): void {
  while (group.process(1) !== undefined);
}

const role = (group: CoreGroup) => group.core(1).status().role;

describe("RaftConfig.admission", () => {
  it("keeps the only voter from electing itself before it has applied so far", () => {
    const group = abstaining([1]);
    append(group, 7, 2);
    group.core(1).campaign();
    group.tick(1, 40);
    group.core(1).step(message("MsgTimeoutNow", 7));
    process(group);
    expect(role(group)).toBe("StateFollower");
    append(group, 7, 3);
    group.core(1).campaign();
    process(group);
    expect(role(group)).toBe("StateLeader");
  });

  it("keeps it from voting meanwhile, for whom it may have voted against before", () => {
    const group = abstaining([1, 2, 3]);
    const isRefused = (term: number) => {
      group.network = [];
      group.core(1).step(message("MsgVote", term, { index: asLogIndex(9), logTerm: asTerm(9) }));
      process(group);
      return group.network.filter(({ type }) => type === "MsgVoteResp").map(({ reject }) => reject);
    };
    expect(isRefused(9)).toEqual([true]);
    append(group, 10, 3);
    expect(isRefused(11)).toEqual([false]);
  });
});
