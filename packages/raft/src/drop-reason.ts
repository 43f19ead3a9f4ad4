/** Which Raft messages of other nodes never get to the core. */
import type { LogIndex, Message, NodeId } from "./core/types.ts";
import type { DropReason } from "./metrics.ts";

/** What decides. */
interface DropParts {
  readonly reads: { forbids(message: Message): boolean };
  readonly applier: { readonly logIsFull: boolean };
  readonly cache: { lastIndex(): LogIndex };
}

/** Why a message that came from `from` is not taken; undefined when it is. */
export function dropReason(
  from: NodeId,
  message: Message,
  { reads, applier, cache }: DropParts,
): DropReason | undefined {
  const { type } = message;
  // A snapshot arrives as chunks with its state, and a proposal under a name, never as a bare message.
  if (type === "MsgSnap" || type === "MsgProp") return "refused";
  if (message.from !== from) return "wrong_sender";
  if (reads.forbids(message)) return "lease";
  // An append that replaces entries is taken even then: it makes the log no longer.
  if (type === "MsgApp" && message.index >= cache.lastIndex() && applier.logIsFull) return "log_full";
  return undefined;
}
