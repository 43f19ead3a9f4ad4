/** What a stolen key sends on the Raft lane: each type of message, and each other envelope. */
import { raftWall } from "@blixard/cluster/testing";
import { fromUtf8 } from "@blixard/common";
import { encodeCommand } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type Entry,
  emptyConfState,
  type Message,
  type MessageType,
  type PeerMessage,
} from "@blixard/raft";
import { living } from "./wall-cluster.ts";

/** The log and the term of the receiver, which a member knows. */
export interface Position {
  readonly term: number;
  readonly lastLogIndex: number;
  readonly lastLogTerm: number;
}

export interface Forged {
  readonly type: string;
  readonly from: number;
  readonly to: number;
  readonly term: number;
  readonly position: Position;
  /** Whether appends bring an entry of the sender's own. */
  readonly withEntry: boolean;
}

/** What a node sends to itself only: it has no form on the wire. Written by hand, as the table of senders is. */
export const neverTravel: readonly string[] = [
  "MsgHup",
  "MsgBeat",
  "MsgCheckQuorum",
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
];

/** The types that a sender of a role may send, or may not, of those that travel. */
export function typesFor(role: string): { readonly taken: readonly string[]; readonly refused: readonly string[] } {
  const travel = Object.entries(raftWall).filter(([type]) => !neverTravel.includes(type));
  const isTaken = ([, senders]: [string, readonly string[]]) => senders.includes(role);
  const name = ([type]: [string, unknown]) => type;
  return { taken: travel.filter(isTaken).map(name), refused: travel.filter((row) => !isTaken(row)).map(name) };
}

export function forged(attack: Forged): PeerMessage {
  const { type, position } = attack;
  const [term, index] = [asTerm(attack.term), asLogIndex(position.lastLogIndex)];
  const name = { session: 1, sequence: 1 };
  const entry = forgedEntry(attack);
  switch (type) {
    case "snapshotChunk": {
      const message = raftMessage("MsgSnap", attack);
      return { type, message, sizeBytes: 1_000, offset: 0, data: Uint8Array.of(1) };
    }
    case "snapshotAck":
      return { type, index, term, receivedBytes: 0, refused: true };
    case "proposal":
      return { type, term, ...name, force: true, entry: { ...entry, term: asTerm(0), index: asLogIndex(0) } };
    case "proposalAnswer":
      return { type, ...name, verdict: { type: "placed", index, term } };
    default:
      return { type: "raft", message: raftMessage(type as MessageType, attack) };
  }
}

function raftMessage(type: MessageType, attack: Forged): Message {
  const { from, to, position, withEntry } = attack;
  const [term, index] = [asTerm(attack.term), asLogIndex(position.lastLogIndex)];
  const ids = (nodes: readonly number[]) => nodes.map(asNodeId);
  const snapshot = {
    ...{ index: asLogIndex(index + 5), term, data: new Uint8Array(0) },
    confState: { ...emptyConfState(), voters: ids([from]), learners: ids(living) },
  };
  return {
    ...{ type, from: asNodeId(from), to: asNodeId(to), term, logTerm: asTerm(position.lastLogTerm), index },
    ...{ commit: asLogIndex(index + (type === "MsgApp" && withEntry ? 1 : 0)), vote: asNodeId(0) },
    // An answer that refuses says most: a leader sends again what was refused, a candidate is outvoted.
    ...{ reject: /Resp$/.test(type) && type !== "MsgReadIndexResp", rejectHint: asLogIndex(0) },
    entries: entriesOf(type, attack),
    ...(type === "MsgSnap" ? { snapshot } : {}),
    // As when a leader asks for it: no lease holds that off.
    ...(type === "MsgVote" || type === "MsgPreVote" ? { context: fromUtf8("CampaignTransfer") } : {}),
  };
}

function entriesOf(type: MessageType, attack: Forged): readonly Entry[] {
  if (type === "MsgReadIndex" || type === "MsgReadIndexResp") {
    return [{ term: asTerm(0), index: asLogIndex(0), kind: "normal", data: Uint8Array.of(1, 2, 3) }];
  }
  if (type === "MsgProp") return [{ ...forgedEntry(attack), term: asTerm(0), index: asLogIndex(0) }];
  return type === "MsgApp" && attack.withEntry ? [forgedEntry(attack)] : [];
}

/** A command that nobody asked for. */
function forgedEntry({ term, position }: Forged): Entry {
  const data = encodeCommand({
    ...{ requestId: "", atUnixMs: Date.now(), actor: { kind: "system", id: "leader" } },
    body: { type: "kv.put", key: "treasure", value: "stolen over Raft" },
  });
  return { term: asTerm(term), index: asLogIndex(position.lastLogIndex + 1), kind: "normal", data };
}
