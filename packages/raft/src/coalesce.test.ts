import { describe, expect, it } from "@jest/globals";
import { coalesce } from "./coalesce.ts";
import { newMessage } from "./core/messages.ts";
import { asLogIndex, asNodeId, asTerm, type Entry, type Message } from "./core/types.ts";

const entry = (index: number): Entry => ({
  ...{ term: asTerm(2), index: asLogIndex(index), kind: "normal" },
  data: new Uint8Array(92),
});
const append = (to: number, after: number, indexes: readonly number[], commit = 0, term = 2): Message =>
  newMessage("MsgApp", asNodeId(1), asNodeId(to), asTerm(term), {
    ...{ index: asLogIndex(after), logTerm: asTerm(2), commit: asLogIndex(commit) },
    entries: indexes.map(entry),
  });
const answer = (index: number, reject = false): Message =>
  newMessage("MsgAppResp", asNodeId(2), asNodeId(1), asTerm(2), { index: asLogIndex(index), reject });

describe("coalesce", () => {
  it("joins appends that continue each other, for each receiver", () => {
    const messages = [append(2, 4, [5]), append(3, 4, [5]), append(2, 5, [6, 7], 4), append(3, 5, [6, 7], 4)];
    expect(coalesce(messages, 1000)).toEqual([append(2, 4, [5, 6, 7], 4), append(3, 4, [5, 6, 7], 4)]);
    expect(messages[0]).toEqual(append(2, 4, [5]));
  });

  it("joins an append that only tells the commit index to the one before it", () => {
    expect(coalesce([append(2, 4, [5]), append(2, 5, [], 5)], 1000)).toEqual([append(2, 4, [5], 5)]);
  });

  it("leaves appends apart that have a gap, another term, or too many bytes together", () => {
    for (const pair of [
      [append(2, 4, [5]), append(2, 6, [7])],
      [append(2, 4, [5]), append(2, 5, [6], 0, 3)],
      [append(2, 4, []), append(2, 4, [5])],
    ]) {
      expect(coalesce(pair, 1000)).toBe(pair);
    }
    const three = [append(2, 4, [5]), append(2, 5, [6]), append(2, 6, [7])];
    expect(coalesce(three, 200)).toEqual([append(2, 4, [5, 6]), append(2, 6, [7])]);
  });

  it("keeps the last of acknowledgements, and every rejection", () => {
    expect(coalesce([answer(5), answer(6), answer(7)], 1000)).toEqual([answer(7)]);
    const rejected = [answer(5), answer(6, true), answer(7), answer(6)];
    expect(coalesce(rejected, 1000)).toBe(rejected);
  });

  it("keeps other messages in their places", () => {
    const vote = newMessage("MsgVote", asNodeId(1), asNodeId(2), asTerm(2));
    const messages = [append(2, 4, [5]), vote, append(2, 5, [6])];
    expect(coalesce(messages, 1000)).toBe(messages);
  });
});
