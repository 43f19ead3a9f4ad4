/**
 * Raft messages of every type and every other envelope, as somebody makes them up who holds a real log and sees real
 * traffic: the terms are the real ones, or one off; indexes exist; entries hold commands that would be applied.
 */
import { fromUtf8, type Random } from "@blixard/common";
import { type CommandBody, encodeCommand } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type Entry,
  emptyConfState,
  type Message,
  type MessageType,
  type PeerMessage,
  type Snapshot,
} from "@blixard/raft";
import { chance, integer, pick } from "../seeds.ts";
import type { Eyes } from "./eyes.ts";
import { forgedName } from "./forged-calls.ts";

/** What the liar knows when it makes a message up. */
export interface MessageSource {
  readonly random: Random;
  readonly self: number;
  readonly to: number;
  readonly eyes: Eyes;
  /** Of its own log and state. */
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly commitIndex: number;
  readonly voters: readonly number[];
}

type Envelope = Exclude<PeerMessage["type"], "raft">;
type Make = (source: MessageSource) => PeerMessage;

/** What a node sends only to itself has no form on the wire. */
const never = "has no form on the wire";

const byType: Readonly<Record<MessageType, Make | typeof never>> = {
  MsgApp: (source) => replayed(source, "MsgApp") ?? append(source),
  MsgAppResp: (source) => {
    const reject = chance(source.random, 0.3);
    const index = nearby(source, source.lastIndex);
    return raft(source, "MsgAppResp", { index, reject, rejectHint: reject ? nearby(source, index) : 0 });
  },
  MsgVote: (source) => candidacy(source, "MsgVote"),
  MsgVoteResp: (source) => raft(source, "MsgVoteResp", { reject: chance(source.random, 0.2) }),
  MsgPreVote: (source) => candidacy(source, "MsgPreVote"),
  MsgPreVoteResp: (source) => raft(source, "MsgPreVoteResp", { reject: chance(source.random, 0.5) }),
  MsgHeartbeat: (source) => {
    const [seen] = source.eyes.messages("MsgHeartbeat").slice(-1);
    const context = seen?.context;
    return raft(source, "MsgHeartbeat", { commit: nearby(source, source.lastIndex), context });
  },
  MsgHeartbeatResp: (source) => {
    const [seen] = source.eyes.messages("MsgHeartbeat").slice(-1);
    return raft(source, "MsgHeartbeatResp", { context: seen?.context });
  },
  MsgTimeoutNow: (source) => raft(source, "MsgTimeoutNow", {}),
  MsgTransferLeader: (source) => raft(source, "MsgTransferLeader", {}),
  MsgReadIndex: (source) => {
    const entry: Entry = { ...nowhere, kind: "normal", data: source.random.bytes(8) };
    return raft(source, "MsgReadIndex", { entries: [entry] });
  },
  MsgReadIndexResp: (source) => {
    const [seen] = source.eyes.messages("MsgReadIndexResp").slice(-1);
    const entry: Entry = seen?.entries[0] ?? { ...nowhere, kind: "normal", data: source.random.bytes(8) };
    return raft(source, "MsgReadIndexResp", { index: integer(source.random, 0, source.commitIndex), entries: [entry] });
  },
  MsgSnap: (source) => raft(source, "MsgSnap", { snapshot: snapshotOf(source) }),
  MsgProp: (source) => raft(source, "MsgProp", { entries: [{ ...nowhere, kind: "normal", data: command(source) }] }),
  MsgUnreachable: (source) => raft(source, "MsgUnreachable", {}),
  MsgSnapStatus: (source) => raft(source, "MsgSnapStatus", { reject: chance(source.random, 0.5) }),
  MsgForgetLeader: (source) => raft(source, "MsgForgetLeader", {}),
  MsgHup: never,
  MsgBeat: never,
  MsgCheckQuorum: never,
  MsgStorageAppend: never,
  MsgStorageAppendResp: never,
  MsgStorageApply: never,
  MsgStorageApplyResp: never,
};

const byEnvelope: Readonly<Record<Envelope, Make>> = {
  snapshotChunk: (source) => {
    const data = source.random.bytes(32);
    const sizeBytes = chance(source.random, 0.7) ? data.length : 2 * data.length;
    const message = { ...message0(source, "MsgSnap", {}), snapshot: snapshotOf(source) };
    return { type: "snapshotChunk", message, sizeBytes, offset: 0, data };
  },
  snapshotAck: ({ random, eyes, commitIndex, term }) => {
    const { index, term: at } = eyes.chunk?.message.snapshot ?? { index: asLogIndex(commitIndex), term: asTerm(term) };
    const receivedBytes = integer(random, 0, (eyes.chunk?.sizeBytes ?? 100) + 1);
    return { type: "snapshotAck", index, term: at, receivedBytes, refused: chance(random, 0.2) };
  },
  proposal: (source) => {
    const [session, sequence] = [integer(source.random, 1, 2 ** 40), integer(source.random, 1, 9)];
    const entry: Entry = chance(source.random, 0.5)
      ? { ...nowhere, kind: "normal", data: command(source) }
      : { ...nowhere, kind: "confChange", change: promotionOf(source) };
    return { type: "proposal", term: termNear(source), session, sequence, force: true, entry };
  },
  proposalAnswer: ({ random, commitIndex, term }) => {
    const [session, sequence] = [integer(random, 1, 2 ** 40), integer(random, 1, 9)];
    const place = { index: asLogIndex(commitIndex), term: asTerm(term) };
    return { type: "proposalAnswer", session, sequence, verdict: { type: "placed", ...place } };
  },
};

/** Everything that has a form on the wire, by its name: what a liar can send. */
export const forgedMessages: ReadonlyMap<string, Make> = new Map(
  Object.entries({ ...byType, ...byEnvelope }).flatMap(([name, make]) =>
    typeof make === "function" ? [[name, make] as const] : [],
  ),
);

const nowhere = { term: asTerm(0), index: asLogIndex(0) };

type Fields = Partial<Pick<Message, "reject" | "entries" | "snapshot">> & {
  readonly index?: number;
  readonly logTerm?: number;
  readonly commit?: number;
  readonly rejectHint?: number;
  readonly context?: Uint8Array | undefined;
};

function raft(source: MessageSource, type: MessageType, fields: Fields): PeerMessage {
  return { type: "raft", message: message0(source, type, fields) };
}

function message0(source: MessageSource, type: MessageType, fields: Fields): Message {
  const {
    index = 0,
    logTerm = 0,
    commit = 0,
    rejectHint = 0,
    context,
    reject = false,
    entries = [],
    snapshot,
  } = fields;
  // Now and then in the name of somebody else, which the transport tells apart.
  const from = chance(source.random, 0.05) ? pick(source.random, source.voters) : source.self;
  return {
    ...{ type, from: asNodeId(from), to: asNodeId(source.to), term: termNear(source), logTerm: asTerm(logTerm) },
    ...{ index: asLogIndex(index), commit: asLogIndex(commit), vote: asNodeId(0), reject },
    ...{ rejectHint: asLogIndex(rejectHint), entries },
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(context === undefined ? {} : { context }),
  };
}

/** The term that everybody is in, one more, or one less. */
function termNear({ random, eyes, term }: MessageSource) {
  return asTerm(Math.max(1, Math.max(eyes.term, term) + pick(random, [-1, 0, 0, 1, 1, 1])));
}

function nearby({ random }: MessageSource, index: number): number {
  return Math.max(0, index + integer(random, -2, 2));
}

/** A real message of this type, sent on as the liar's own in another term. */
function replayed(source: MessageSource, type: MessageType): PeerMessage | undefined {
  const seen = source.eyes.messages(type);
  if (seen.length === 0 || chance(source.random, 0.5)) return undefined;
  const { entries, ...message } = pick(source.random, seen);
  const term = asTerm(Math.max(termNear(source), ...entries.map((entry) => entry.term)));
  const [from, to] = [asNodeId(source.self), asNodeId(source.to)];
  return { type: "raft", message: { ...message, entries, from, to, term } };
}

function append(source: MessageSource): PeerMessage {
  const { random, lastIndex, lastTerm } = source;
  const term = asTerm(Math.max(termNear(source), lastTerm));
  const place = { term, index: asLogIndex(lastIndex + 1) };
  const entry: Entry = chance(random, 0.7)
    ? { ...place, kind: "normal", data: command(source) }
    : { ...place, kind: "confChange", change: promotionOf(source) };
  const fields = { index: lastIndex, logTerm: lastTerm, commit: lastIndex + integer(random, 0, 1), entries: [entry] };
  return { type: "raft", message: { ...message0(source, "MsgApp", fields), term } };
}

function candidacy(source: MessageSource, type: "MsgVote" | "MsgPreVote"): PeerMessage {
  const { random, lastIndex } = source;
  const index = lastIndex + integer(random, 0, 10);
  // As when a leader asks for the election: no lease holds that off.
  const context = type === "MsgVote" && chance(random, 0.7) ? fromUtf8("CampaignTransfer") : undefined;
  return raft(source, type, { index, logTerm: Math.max(1, source.term), context });
}

function snapshotOf(source: MessageSource): Snapshot {
  const { random, self, commitIndex, voters } = source;
  const confState = { ...emptyConfState(), voters: [...voters, self].map(asNodeId) };
  const index = asLogIndex(commitIndex + integer(random, 1, 20));
  return { index, term: termNear(source), confState, data: new Uint8Array(0) };
}

function promotionOf({ self }: MessageSource) {
  const change = { op: "addVoter", id: asNodeId(self) } as const;
  return { version: 2, transition: "auto", changes: [change] } as const;
}

/** A command that would do something where it is applied, under a request id that was used or under none. */
function command({ random, self, eyes, voters }: MessageSource): Uint8Array {
  const bodies: readonly CommandBody[] = [
    { type: "kv.put", key: `k${integer(random, 0, 3)}`, value: forgedName },
    { type: "node.update", nodeId: self, role: "voter" },
    { type: "node.update", nodeId: pick(random, voters), cordoned: true },
    { type: "token.revoke", tokenId: "admin" },
  ];
  const requestId = chance(random, 0.5) ? (eyes.commands.at(-1)?.requestId ?? "") : "";
  const atUnixMs = eyes.commands.at(-1)?.atUnixMs ?? 0;
  return encodeCommand({ requestId, atUnixMs, actor: { kind: "system", id: "leader" }, body: pick(random, bodies) });
}
