/**
 * Building messages, and checking those that come in. A message from a peer is untrusted: one that is not well formed
 * is dropped before it can touch any state. README.md in this folder has the glossary of their types.
 */
import { noIndex } from "./indexes.ts";
import {
  asTerm,
  type Entry,
  type LogIndex,
  type Message,
  type MessageTarget,
  type MessageType,
  type NodeId,
  noNode,
  type Term,
} from "./types.ts";

export const noTerm: Term = asTerm(0);

/** The fields that only some types of messages use. */
export type MessageFields = Partial<Omit<Message, "type" | "from" | "to" | "term">>;

const noEntries: readonly Entry[] = [];
const noFields: MessageFields = {};

/** A message with the given fields; all others are empty. The order of the fields is fixed for the engine's sake. */
export function newMessage(
  type: MessageType,
  from: MessageTarget,
  to: MessageTarget,
  term: Term,
  fields: MessageFields = noFields,
): Message {
  const message: { -readonly [Key in keyof Message]: Message[Key] } = {
    type,
    from,
    to,
    term,
    logTerm: fields.logTerm ?? noTerm,
    index: fields.index ?? noIndex,
    commit: fields.commit ?? noIndex,
    vote: fields.vote ?? noNode,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? noIndex,
    entries: fields.entries ?? noEntries,
  };
  if (fields.snapshot !== undefined) message.snapshot = fields.snapshot;
  if (fields.context !== undefined) message.context = fields.context;
  if (fields.responses !== undefined) message.responses = fields.responses;
  return message;
}

/** MsgApp. It and its answer are most of all messages, so they are made without an object for their fields. */
export const newAppend = (
  from: NodeId,
  to: NodeId,
  term: Term,
  logTerm: Term,
  index: LogIndex,
  commit: LogIndex,
  entries: readonly Entry[],
): Message => ({
  type: "MsgApp",
  from,
  to,
  term,
  logTerm,
  index,
  commit,
  vote: noNode,
  reject: false,
  rejectHint: noIndex,
  entries,
});

/** MsgAppResp that acknowledges everything up to `index`. */
export const newAcknowledgement = (from: NodeId, to: NodeId, term: Term, index: LogIndex): Message => ({
  type: "MsgAppResp",
  from,
  to,
  term,
  logTerm: noTerm,
  index,
  commit: noIndex,
  vote: noNode,
  reject: false,
  rejectHint: noIndex,
  entries: noEntries,
});

/** MsgStorageAppendResp without a snapshot. */
export const newAppendResponse = (to: NodeId, term: Term, index: LogIndex, logTerm: Term): Message => ({
  type: "MsgStorageAppendResp",
  from: "append",
  to,
  term,
  logTerm,
  index,
  commit: noIndex,
  vote: noNode,
  reject: false,
  rejectHint: noIndex,
  entries: noEntries,
});

/** MsgStorageApplyResp. Committed entries belong to no term any more. */
export const newApplyResponse = (to: NodeId, entries: readonly Entry[]): Message => ({
  type: "MsgStorageApplyResp",
  from: "apply",
  to,
  term: noTerm,
  logTerm: noTerm,
  index: noIndex,
  commit: noIndex,
  vote: noNode,
  reject: false,
  rejectHint: noIndex,
  entries,
});

/** The peer that sent a message, or none for a local one. */
export const senderOf = (message: Message): NodeId => (typeof message.from === "number" ? message.from : noNode);

/** True for the storage threads of asynchronous storage writes. */
export const isLocalTarget = (target: MessageTarget): boolean => target === "append" || target === "apply";

const localTypes: ReadonlySet<MessageType> = new Set<MessageType>([
  "MsgHup",
  "MsgBeat",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgCheckQuorum",
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
]);

/** True for messages that a node only ever gets from itself, never from a peer. */
export const isLocalMessage = (type: MessageType): boolean => localTypes.has(type);

const responseTypes: ReadonlySet<MessageType> = new Set<MessageType>([
  "MsgAppResp",
  "MsgVoteResp",
  "MsgHeartbeatResp",
  "MsgUnreachable",
  "MsgReadIndexResp",
  "MsgPreVoteResp",
  "MsgStorageAppendResp",
  "MsgStorageApplyResp",
]);

/** True for answers, which make sense only from a member of the configuration. */
export const isResponseMessage = (type: MessageType): boolean => responseTypes.has(type);

/** True for what a storage thread hands back when its work is done. */
export const isStorageResponse = (type: MessageType): boolean =>
  type === "MsgStorageAppendResp" || type === "MsgStorageApplyResp";

/** Responses that promise durability: they leave only when everything before them is on disk. */
export const promisesDurability = (type: MessageType): boolean =>
  type === "MsgAppResp" || type === "MsgVoteResp" || type === "MsgPreVoteResp";

/** A node sends only these messages to itself, and none of them as a rejection. Others that bear its id are forged. */
const isSelfAddressed = promisesDurability;

/** Types that belong to a sender and its term. The others are requests that any term may carry, and 0 is theirs. */
const termedTypes: ReadonlySet<MessageType> = new Set<MessageType>([
  "MsgApp",
  "MsgSnap",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTimeoutNow",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
]);

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** Says what is wrong with a message that `self` got from a peer or from itself, or undefined when it is sound. */
export function malformation(message: Message, self: NodeId): string | undefined {
  const { type, from, term } = message;
  if (!isCount(term) || !isCount(message.logTerm) || !isCount(message.index)) return "a term or index is no index";
  if (!isCount(message.commit) || !isCount(message.rejectHint)) return "a term or index is no index";
  if (isStorageResponse(type)) return undefined;
  if (typeof from !== "number" || !isCount(from)) return "the sender is no node";
  if (termedTypes.has(type)) {
    if (from === noNode) return "the sender is missing";
    if (from === self && (message.reject || !isSelfAddressed(type))) return "the sender is this node";
    // A snapshot holds committed state, which is valid in any term. A node may answer one before its own first term.
    if (term === 0 && type !== "MsgSnap" && type !== "MsgAppResp") return "the term is missing";
  }
  if (type === "MsgApp") return malformedEntries(message.entries, message.index, term);
  if ((type === "MsgProp" || type === "MsgReadIndex") && message.entries.length === 0) return "there is no entry";
  return undefined;
}

/** The entries of an append follow `previous` without a gap, and their terms never fall or exceed the sender's. */
function malformedEntries(entries: readonly Entry[], previous: LogIndex, termMax: Term): string | undefined {
  let index: number = previous;
  let term: number = noTerm;
  for (const entry of entries) {
    if (entry.index !== ++index) return "the entries are not contiguous";
    if (!isCount(entry.term) || entry.term < term) return "the terms of the entries fall";
    term = entry.term;
  }
  if (term > termMax) return "an entry is newer than its sender";
  return isCount(index) ? undefined : "an entry has no index";
}
