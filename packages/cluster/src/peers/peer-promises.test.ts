import type { NodeRecord } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type Message,
  type PeerMessage,
  type PeerTransportHandlers,
} from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { applyChange, emptyState, nodeKey } from "../state-machine/state.ts";
import { sampleNode } from "../testing/command-samples.ts";
import { notRunningRaft, PeerPromises, type VerifyRequest } from "./peer-promises.ts";

const storeId = "a".repeat(32);
const asked = (fields: Partial<VerifyRequest> = {}): VerifyRequest => ({
  nodeId: 2,
  incarnation: 1,
  storeId,
  starts: 4,
  instance: 7,
  term: 5,
  lastIndex: 100,
  ...fields,
});

function promisesOf(record: Partial<NodeRecord> = {}, session?: { instance: number; lastContactMs: number }) {
  const state = emptyState();
  const value = sampleNode(2, { storeId, starts: 3, ...record });
  applyChange(state, { table: "nodes", key: nodeKey(2), value });
  const sessions =
    session === undefined ? [] : [{ nodeId: 2, transport: "x", path: "direct", rttMs: 1, ...session } as const];
  const verdicts: unknown[] = [];
  const checks = {
    add: (_: number, labels?: Readonly<Record<string, string>>) => void verdicts.push(labels?.["verdict"]),
  };
  const promises = new PeerPromises(() => state, { sessions: () => sessions }, checks);
  let handlers: PeerTransportHandlers | undefined;
  const seen: PeerMessage[] = [];
  promises
    .listen({
      send: () => true,
      bind: (given) => {
        handlers = given;
      },
    })
    .bind({ onMessage: (_, message) => void seen.push(message), onUnreachable: () => {} });
  const hear = (type: Message["type"], fields: Partial<Message>) => {
    const message = { type, from: asNodeId(2), to: asNodeId(1), reject: false, entries: [], ...fields } as Message;
    handlers?.onMessage(asNodeId(2), { type: "raft", message });
  };
  return { promises, hear, seen, verdicts };
}

const leading = (commitIndex: number) => ({ commitIndex, role: "StateLeader" });

describe("PeerPromises.verify", () => {
  it("finds a store that fits, and says whether the leader says so", () => {
    expect(promisesOf().promises.verify(asked(), notRunningRaft)).toEqual({
      verdict: "fits",
      reason: "",
      leader: false,
    });
    expect(promisesOf().promises.verify(asked(), leading(90)).leader).toBe(true);
  });

  it("counts each verdict", () => {
    const { promises, verdicts } = promisesOf();
    promises.verify(asked(), notRunningRaft);
    promises.verify(asked({ starts: 3 }), notRunningRaft);
    expect(verdicts).toEqual(["fits", "behind"]);
  });

  it("finds a copy by its number of starts, another store, and an incarnation that is over", () => {
    expect(promisesOf().promises.verify(asked({ starts: 3 }), notRunningRaft).verdict).toBe("behind");
    expect(promisesOf().promises.verify(asked({ storeId: "b".repeat(32) }), notRunningRaft).verdict).toBe("other");
    expect(promisesOf({ incarnation: 2 }).promises.verify(asked(), notRunningRaft).verdict).toBe("behind");
    expect(
      promisesOf().promises.verify(asked({ incarnation: 2, storeId: "b".repeat(32), starts: 1 }), notRunningRaft)
        .verdict,
    ).toBe("fits");
  });

  it("finds a process that runs already, and not one that is silent or the same", () => {
    const verdict = (instance: number, lastContactMs: number) =>
      promisesOf({}, { instance, lastContactMs }).promises.verify(asked(), notRunningRaft).verdict;
    expect([verdict(8, 100), verdict(8, 1_500), verdict(7, 100)]).toEqual(["running", "fits", "fits"]);
  });

  it("finds a log that ends before what was acknowledged and committed", () => {
    const { promises, hear, seen } = promisesOf();
    hear("MsgAppResp", { term: asTerm(5), index: asLogIndex(120) });
    expect(seen.length).toBe(1);
    expect(promises.verify(asked({ lastIndex: 110 }), leading(110)).verdict).toBe("fits");
    expect(promises.verify(asked({ lastIndex: 110 }), leading(115)).verdict).toBe("behind");
    expect(promises.verify(asked({ lastIndex: 120 }), leading(500)).verdict).toBe("fits");
  });

  it("finds a term that is older than a vote, and takes no refusal for a promise", () => {
    const { promises, hear } = promisesOf();
    hear("MsgVoteResp", { term: asTerm(9), reject: true });
    hear("MsgAppResp", { term: asTerm(9), index: asLogIndex(200), reject: true });
    hear("MsgPreVoteResp", { term: asTerm(9) });
    expect(promises.verify(asked(), leading(500)).verdict).toBe("fits");
    hear("MsgVoteResp", { term: asTerm(9) });
    expect(promises.verify(asked(), notRunningRaft).verdict).toBe("behind");
    expect(promises.verify(asked({ term: 9 }), notRunningRaft).verdict).toBe("fits");
    hear("MsgHeartbeat", { term: asTerm(10) });
    expect(promises.verify(asked({ term: 9 }), notRunningRaft).reason).toContain("in 10");
  });
});
