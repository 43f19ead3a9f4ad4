import type { PeerMessage } from "@blixard/raft";
import { asLogIndex, asNodeId, asTerm, type ConfState, type Message, type MessageType } from "@blixard/raft/core";
import { describe, expect, it } from "@jest/globals";
import { ExchangeChecker } from "./exchange-checker.ts";
import { Violations } from "./violation.ts";

const confState = (...voters: readonly number[]): ConfState => ({
  ...{ voters: voters.map(asNodeId), votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
});
const place = { index: asLogIndex(7), term: asTerm(2) };

function message(type: MessageType, from: number, to: number, fields: Partial<Message> = {}): Message {
  const ends = { from: asNodeId(from), to: asNodeId(to), term: asTerm(3), logTerm: asTerm(0), index: asLogIndex(0) };
  return {
    type,
    ...ends,
    commit: asLogIndex(0),
    reject: false,
    rejectHint: asLogIndex(0),
    entries: [],
    ...fields,
  } as Message;
}

function start() {
  const violations = new Violations();
  const world = { nowMs: 0 };
  violations.setNow(() => ({ atMs: world.nowMs, step: 0 }));
  return { world, violations, checker: new ExchangeChecker(violations) };
}

describe("ExchangeChecker", () => {
  const chunk: PeerMessage = {
    ...{ type: "snapshotChunk", sizeBytes: 1, offset: 0, data: new Uint8Array(1) },
    message: message("MsgSnap", 1, 2, {
      snapshot: { ...place, confState: confState(1, 2, 3), data: new Uint8Array() },
    }),
  };
  const ack: PeerMessage = { type: "snapshotAck", ...place, receivedBytes: 1, refused: false };

  it("finds an answer about a snapshot that goes to another node than its sender", () => {
    const { checker, violations } = start();
    checker.sent(1, 2, chunk);
    checker.sent(2, 1, ack);
    expect(violations.first).toBeUndefined();
    checker.sent(2, 3, ack);
    expect(violations.first).toMatchObject({ property: "only who sent a snapshot is answered" });
  });

  it("finds an offer of leadership to a node that has lost its vote, once the change can have taken effect", () => {
    const { world, checker, violations } = start();
    const offer: PeerMessage = { type: "raft", message: message("MsgTimeoutNow", 1, 3) };
    checker.configured(1, confState(1, 2, 3));
    world.nowMs = 1_000;
    checker.sent(1, 3, offer);
    checker.configured(1, confState(1, 2));
    checker.sent(1, 3, offer);
    expect(violations.first).toBeUndefined();
    world.nowMs = 2_000;
    // What was known before counts from when it was known first.
    checker.configured(1, confState(1, 2));
    checker.sent(1, 3, offer);
    expect(violations.first).toMatchObject({ property: "leadership goes to voters" });
  });
});
