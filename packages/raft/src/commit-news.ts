/**
 * Followers hear of a new commit index by an append. The core sends one without entries when it has none to send; but while
 * proposals wait for the write of the log that is under way, the append that takes them follows at its end and says the same.
 * So the empty one, and its answer, are spared: it is held back until then at most, and heartbeats and the rounds of reads
 * tell the commit index meanwhile.
 */
import type { Message, MessageTarget } from "./core/types.ts";

export class CommitNews {
  readonly #moreFollows: () => boolean;
  readonly #held = new Map<MessageTarget, Message>();

  /** `moreFollows` says whether an append with entries is about to follow. */
  constructor(moreFollows: () => boolean) {
    this.#moreFollows = moreFollows;
  }

  /** Whether `message` is not to be sent now. A later append to the same node takes its place. */
  holds(message: Message): boolean {
    if (message.type !== "MsgApp") return false;
    this.#held.delete(message.to);
    if (message.entries.length > 0 || !this.#moreFollows()) return false;
    this.#held.set(message.to, message);
    return true;
  }

  /** What was held back, nothing has taken the place of, and nothing will. */
  due(): readonly Message[] {
    if (this.#held.size === 0 || this.#moreFollows()) return none;
    const held = [...this.#held.values()];
    this.#held.clear();
    return held;
  }
}

const none: readonly Message[] = [];
