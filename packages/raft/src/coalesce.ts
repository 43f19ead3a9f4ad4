/**
 * Joins messages that say the same together. The core sends an append for each proposal, as the algorithm says; appends
 * of one Ready that follow each other in the log travel as one message and get one answer.
 */
import { entriesSizeBytes } from "./core/entry-size.ts";
import type { Entry, Message, MessageTarget } from "./core/types.ts";

interface Draft {
  message: Message;
  /** The entries of all appends in one, once there are two; a list of its own. */
  entries: Entry[] | undefined;
  bytes: number;
}

/**
 * The messages in their order for each receiver. An append that continues the one before it is joined to it, up to
 * `bytesMax` bytes of entries. An acknowledgement takes the place of an earlier one that it includes.
 */
export function coalesce(messages: readonly Message[], bytesMax: number): readonly Message[] {
  if (messages.length < 2) return messages;
  const drafts: Draft[] = [];
  const newest = new Map<MessageTarget, Draft>();
  for (const message of messages) {
    const before = newest.get(message.to);
    if (before !== undefined && (joinAppend(before, message, bytesMax) || joinAcknowledgement(before, message)))
      continue;
    const draft: Draft = { message, entries: undefined, bytes: -1 };
    drafts.push(draft);
    newest.set(message.to, draft);
  }
  if (drafts.length === messages.length) return messages;
  return drafts.map(({ message, entries }) => (entries === undefined ? message : { ...message, entries }));
}

function joinAppend(draft: Draft, next: Message, bytesMax: number): boolean {
  const { message } = draft;
  if (next.type !== "MsgApp" || message.type !== "MsgApp" || next.term !== message.term) return false;
  const count = (draft.entries ?? message.entries).length;
  if (count === 0 || next.index !== message.index + count) return false;
  if (draft.bytes < 0) draft.bytes = entriesSizeBytes(message.entries);
  const bytes = draft.bytes + entriesSizeBytes(next.entries);
  if (bytes > bytesMax) return false;
  draft.entries ??= [...message.entries];
  for (const entry of next.entries) draft.entries.push(entry);
  draft.bytes = bytes;
  if (next.commit > message.commit) draft.message = { ...message, commit: next.commit };
  return true;
}

/** A later acknowledgement of the same term, up to a higher index, includes an earlier one. */
function joinAcknowledgement(draft: Draft, next: Message): boolean {
  const { message } = draft;
  if (next.type !== "MsgAppResp" || message.type !== "MsgAppResp") return false;
  if (next.reject || message.reject || next.term !== message.term || next.index < message.index) return false;
  draft.message = next;
  return true;
}
