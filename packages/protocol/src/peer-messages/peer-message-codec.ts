/**
 * Peer messages by position, many to a batch: `version, count, message ...`. Iroh costs CPU for each byte, so zeros
 * take one byte and an entry that follows its predecessor (same term, next index) costs two bytes beyond its data.
 * The reader checks every field; bytes that the writer would not have written are refused as a whole. What only a later
 * release can have written is refused with a code of its own, because it is no damage.
 */
import { assert } from "@blixard/common";
import type {
  ConfChange,
  ConfState,
  Entry,
  LogIndex,
  Message,
  MessageType,
  NodeId,
  PeerMessage,
  ProposalRefusalCode,
  ProposalVerdict,
  Snapshot,
  Term,
} from "@blixard/raft";
import { BinaryReader, BinaryWriter, corrupt, unsupported } from "../wire/wire-codec-binary.ts";

const formatVersion = 1;
const tag = { raft: 0, snapshotChunk: 1, snapshotAck: 2, proposal: 3, proposalAnswer: 4 } as const;

/** Position is the wire number: append only. Messages that a node sends only to itself have no number. */
const messageTypes = [
  "MsgProp",
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgForgetLeader",
] as const satisfies readonly MessageType[];
const changeOps = [
  "addVoter",
  "addLearner",
  "remove",
  "update",
] as const satisfies readonly ConfChange["changes"][number]["op"][];
const transitions = ["auto", "implicit", "explicit"] as const satisfies readonly ConfChange["transition"][];

/** Position is the wire number: append only. */
const refusalCodes = [
  "NOT_LEADER",
  "PROPOSAL_DROPPED",
  "OVERLOADED",
  "CONFLICT",
  "QUORUM_AT_RISK",
  "INVALID_ARGUMENT",
] as const satisfies readonly ProposalRefusalCode[];
/** Characters of a reason that travel; four bytes each at most. */
const reasonLengthMax = 256;

const messageFlag = { reject: 1, snapshot: 2, context: 4 } as const;
const entryFlag = { confChange: 1, sameTerm: 2, nextIndex: 4 } as const;

/** Used again for each batch, because it is made in one go. */
const writer = new BinaryWriter();

/** @throws INVARIANT for a message that never leaves its node, or whose numbers are not safe integers */
export function encodePeerMessages(messages: readonly PeerMessage[]): Uint8Array {
  writer.clear();
  writer.byte(formatVersion);
  writer.integer(messages.length);
  for (const message of messages) writePeerMessage(writer, message);
  return writer.finish();
}

/** @throws FRAME_CORRUPT, UNSUPPORTED_VERSION */
export function decodePeerMessages(bytes: Uint8Array): PeerMessage[] {
  const reader = new BinaryReader(bytes);
  checkVersion(reader, "batch version");
  const count = reader.count("batch");
  const messages: PeerMessage[] = [];
  for (let item = 0; item < count; item++) messages.push(readPeerMessage(reader));
  reader.end("batch");
  return messages;
}

/** Entries of a log by themselves, in the form that they have in messages. */
export function encodeEntries(entries: readonly Entry[]): Uint8Array {
  const writer = new BinaryWriter();
  writer.byte(formatVersion);
  writeEntries(writer, entries);
  return writer.finish();
}

/** @throws FRAME_CORRUPT, UNSUPPORTED_VERSION */
export function decodeEntries(bytes: Uint8Array): Entry[] {
  const reader = new BinaryReader(bytes);
  checkVersion(reader, "entries version");
  const entries = readEntries(reader);
  reader.end("entries");
  return entries;
}

function checkVersion(reader: BinaryReader, what: string): void {
  const version = reader.byte(what);
  if (version === 0) throw corrupt(`${what} 0`);
  if (version > formatVersion) throw unsupported(`${what} ${version}`);
}

function writePeerMessage(writer: BinaryWriter, message: PeerMessage): void {
  writer.byte(tag[message.type]);
  switch (message.type) {
    case "raft":
      writeMessage(writer, message.message);
      return;
    case "snapshotChunk":
      writeMessage(writer, message.message);
      writer.integer(message.sizeBytes);
      writer.integer(message.offset);
      writer.bytes(message.data);
      return;
    case "snapshotAck":
      writer.integer(message.index);
      writer.integer(message.term);
      writer.integer(message.receivedBytes);
      writer.byte(message.refused ? 1 : 0);
      return;
    case "proposal":
      writer.integer(message.term);
      writer.integer(message.session);
      writer.integer(message.sequence);
      writer.byte(message.force ? 1 : 0);
      writeEntries(writer, [message.entry]);
      return;
    case "proposalAnswer":
      writer.integer(message.session);
      writer.integer(message.sequence);
      writeVerdict(writer, message.verdict);
      return;
    default:
      message satisfies never;
  }
}

function readPeerMessage(reader: BinaryReader): PeerMessage {
  const kind = reader.byte("message tag");
  switch (kind) {
    case tag.raft:
      return { type: "raft", message: readMessage(reader) };
    case tag.snapshotChunk: {
      const message = readMessage(reader);
      const sizeBytes = reader.integer("sizeBytes");
      const offset = reader.integer("offset");
      const data = reader.bytes("data");
      if (offset + data.length > sizeBytes) throw corrupt("a snapshot chunk reaches beyond the snapshot");
      return { type: "snapshotChunk", message, sizeBytes, offset, data };
    }
    case tag.snapshotAck: {
      const index = reader.integer("index") as LogIndex;
      const term = reader.integer("term") as Term;
      const receivedBytes = reader.integer("receivedBytes");
      return { type: "snapshotAck", index, term, receivedBytes, refused: readBoolean(reader, "refused") };
    }
    case tag.proposal:
      return readProposal(reader);
    case tag.proposalAnswer: {
      const session = reader.integer("session");
      const sequence = reader.integer("sequence");
      return { type: "proposalAnswer", session, sequence, verdict: readVerdict(reader) };
    }
    default:
      throw unsupported(`message tag ${kind}`);
  }
}

function readProposal(reader: BinaryReader): PeerMessage {
  const term = reader.integer("term") as Term;
  const session = reader.integer("session");
  const sequence = reader.integer("sequence");
  const force = readBoolean(reader, "force");
  const [entry, ...others] = readEntries(reader);
  if (entry === undefined || others.length > 0) throw corrupt("a proposal is one entry");
  return { type: "proposal", term, session, sequence, force, entry };
}

function writeVerdict(writer: BinaryWriter, verdict: ProposalVerdict): void {
  if (verdict.type === "placed") {
    writer.byte(0);
    writer.integer(verdict.index);
    writer.integer(verdict.term);
    return;
  }
  writer.byte(1);
  writer.byte(refusalCodes.indexOf(verdict.code));
  writer.integer(verdict.leaderId);
  writer.text(verdict.reason.slice(0, reasonLengthMax));
}

function readVerdict(reader: BinaryReader): ProposalVerdict {
  if (!readBoolean(reader, "verdict")) {
    const index = reader.integer("index") as LogIndex;
    return { type: "placed", index, term: reader.integer("term") as Term };
  }
  const code = refusalCodes[reader.byte("refusal code")];
  if (code === undefined) throw unsupported("a refusal code");
  const leaderId = reader.integer("leader") as NodeId;
  return { type: "refused", code, leaderId, reason: reader.text("reason", 4 * reasonLengthMax) };
}

function writeMessage(writer: BinaryWriter, message: Message): void {
  const type = (messageTypes as readonly MessageType[]).indexOf(message.type);
  assert(type >= 0 && message.responses === undefined, `${message.type} never leaves its node`);
  assert(typeof message.from === "number" && typeof message.to === "number", "only nodes are addressed");
  writer.byte(type);
  writer.byte(
    (message.reject ? messageFlag.reject : 0) |
      (message.snapshot === undefined ? 0 : messageFlag.snapshot) |
      (message.context === undefined ? 0 : messageFlag.context),
  );
  writer.integer(message.from);
  writer.integer(message.to);
  writer.integer(message.term);
  writer.integer(message.logTerm);
  writer.integer(message.index);
  writer.integer(message.commit);
  writer.integer(message.vote);
  writer.integer(message.rejectHint);
  writeEntries(writer, message.entries);
  if (message.snapshot !== undefined) writeSnapshot(writer, message.snapshot);
  if (message.context !== undefined) writer.bytes(message.context);
}

function readMessage(reader: BinaryReader): Message {
  const type = messageTypes[reader.byte("message type")];
  if (type === undefined) throw unsupported("a type of message");
  const flags = reader.byte("message flags");
  if (flags > 7) throw unsupported("a flag of a message");
  const fields = {
    type,
    from: reader.integer("from") as NodeId,
    to: reader.integer("to") as NodeId,
    term: reader.integer("term") as Term,
    logTerm: reader.integer("logTerm") as Term,
    index: reader.integer("index") as LogIndex,
    commit: reader.integer("commit") as LogIndex,
    vote: reader.integer("vote") as NodeId,
    reject: (flags & messageFlag.reject) !== 0,
    rejectHint: reader.integer("rejectHint") as LogIndex,
    entries: readEntries(reader),
  };
  const snapshot = (flags & messageFlag.snapshot) === 0 ? {} : { snapshot: readSnapshot(reader) };
  const context = (flags & messageFlag.context) === 0 ? {} : { context: reader.bytes("context") };
  return { ...fields, ...snapshot, ...context };
}

function writeEntries(writer: BinaryWriter, entries: readonly Entry[]): void {
  writer.integer(entries.length);
  let term = 0;
  let index = 0;
  for (const entry of entries) {
    const sameTerm = entry.term === term;
    const nextIndex = entry.index === index + 1;
    writer.byte(
      (entry.kind === "confChange" ? entryFlag.confChange : 0) |
        (sameTerm ? entryFlag.sameTerm : 0) |
        (nextIndex ? entryFlag.nextIndex : 0),
    );
    if (!sameTerm) writer.integer(entry.term);
    if (!nextIndex) writer.integer(entry.index);
    if (entry.kind === "normal") writer.bytes(entry.data);
    else writeConfChange(writer, entry.change);
    term = entry.term;
    index = entry.index;
  }
}

function readEntries(reader: BinaryReader): Entry[] {
  const count = reader.count("entries");
  const entries: Entry[] = [];
  let term = 0 as Term;
  let index = 0;
  for (let item = 0; item < count; item++) {
    const flags = reader.byte("entry flags");
    if (flags > 7) throw unsupported("a flag of an entry");
    if ((flags & entryFlag.sameTerm) === 0) term = reader.integer("entry term") as Term;
    index = (flags & entryFlag.nextIndex) === 0 ? reader.integer("entry index") : index + 1;
    const position = { term, index: index as LogIndex };
    entries.push(
      (flags & entryFlag.confChange) === 0
        ? { ...position, kind: "normal", data: reader.bytes("entry data") }
        : { ...position, kind: "confChange", change: readConfChange(reader) },
    );
  }
  return entries;
}

function writeConfChange(writer: BinaryWriter, change: ConfChange): void {
  writer.byte(change.version);
  writer.byte(transitions.indexOf(change.transition));
  writer.integer(change.changes.length);
  for (const { op, id } of change.changes) {
    writer.byte(changeOps.indexOf(op));
    writer.integer(id);
  }
  writer.byte(change.context === undefined ? 0 : 1);
  if (change.context !== undefined) writer.bytes(change.context);
}

function readConfChange(reader: BinaryReader): ConfChange {
  const version = reader.byte("change version");
  if (version > 2) throw unsupported(`version ${version} of a configuration change`);
  if (version !== 1 && version !== 2) throw corrupt("a configuration change has no version");
  const transition = transitions[reader.byte("transition")];
  if (transition === undefined) throw unsupported("a transition");
  const count = reader.count("changes");
  const changes: { op: (typeof changeOps)[number]; id: NodeId }[] = [];
  for (let item = 0; item < count; item++) {
    const op = changeOps[reader.byte("change")];
    if (op === undefined) throw unsupported("a change of the configuration");
    changes.push({ op, id: reader.integer("changed node") as NodeId });
  }
  const context = readBoolean(reader, "change context") ? { context: reader.bytes("change context") } : {};
  return { version, transition, changes, ...context };
}

function writeSnapshot(writer: BinaryWriter, snapshot: Snapshot): void {
  const { confState } = snapshot;
  writer.integer(snapshot.index);
  writer.integer(snapshot.term);
  for (const ids of [confState.voters, confState.votersOutgoing, confState.learners, confState.learnersNext]) {
    writer.integer(ids.length);
    for (const id of ids) writer.integer(id);
  }
  writer.byte(confState.autoLeave ? 1 : 0);
  writer.bytes(snapshot.data);
}

function readSnapshot(reader: BinaryReader): Snapshot {
  const index = reader.integer("snapshot index") as LogIndex;
  const term = reader.integer("snapshot term") as Term;
  const confState: ConfState = {
    voters: readNodeIds(reader),
    votersOutgoing: readNodeIds(reader),
    learners: readNodeIds(reader),
    learnersNext: readNodeIds(reader),
    autoLeave: readBoolean(reader, "autoLeave"),
  };
  return { index, term, confState, data: reader.bytes("snapshot data") };
}

function readNodeIds(reader: BinaryReader): NodeId[] {
  const count = reader.count("node ids");
  const ids: NodeId[] = [];
  for (let item = 0; item < count; item++) ids.push(reader.integer("node id") as NodeId);
  return ids;
}

function readBoolean(reader: BinaryReader, what: string): boolean {
  const value = reader.byte(what);
  if (value > 1) throw corrupt(`${what} is neither 0 nor 1`);
  return value === 1;
}
