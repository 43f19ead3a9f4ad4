import { describe, expect, it } from "@jest/globals";
import { CommitNews } from "./commit-news.ts";
import { newAppend, newMessage } from "./core/messages.ts";
import { asLogIndex, asNodeId, asTerm, type Entry } from "./core/types.ts";

const entry: Entry = { term: asTerm(1), index: asLogIndex(8), kind: "normal", data: new Uint8Array([1]) };

const append = (to: number, commit: number, entries: readonly Entry[] = []) =>
  newAppend(asNodeId(1), asNodeId(to), asTerm(1), asTerm(1), asLogIndex(7), asLogIndex(commit), entries);

function fixture() {
  const node = { appendsSoon: true };
  const news = new CommitNews(() => node.appendsSoon);
  return { node, news, commits: () => news.due().map(({ to, commit }) => [to, commit]) };
}

describe("CommitNews", () => {
  it("holds an empty append back while one with entries is about to follow, the newest for each node", () => {
    const { node, news, commits } = fixture();
    for (const message of [append(2, 5), append(3, 5), append(2, 6)]) expect(news.holds(message)).toBe(true);
    expect(commits()).toEqual([]);
    node.appendsSoon = false;
    expect(commits()).toEqual([
      [3, 5],
      [2, 6],
    ]);
    expect(commits()).toEqual([]);
  });

  it("forgets it for the nodes that an append with entries goes to", () => {
    const { node, news, commits } = fixture();
    expect(news.holds(append(2, 5))).toBe(true);
    expect(news.holds(append(3, 5))).toBe(true);
    expect(news.holds(append(2, 5, [entry]))).toBe(false);
    node.appendsSoon = false;
    expect(commits()).toEqual([[3, 5]]);
  });

  it("holds nothing back while nothing follows, nor any other message", () => {
    const { node, news, commits } = fixture();
    expect(news.holds(newMessage("MsgHeartbeat", asNodeId(1), asNodeId(2), asTerm(1)))).toBe(false);
    node.appendsSoon = false;
    expect(news.holds(append(2, 5))).toBe(false);
    expect(commits()).toEqual([]);
  });
});
