/** What somebody at a member sees of the traffic there, of which lies are made that look true. */
import { errorCodeOf } from "@blixard/common";
import { type Command, decodeCommand } from "@blixard/protocol";
import type { Entry, Message, PeerMessage } from "@blixard/raft";

type SnapshotChunk = Extract<PeerMessage, { type: "snapshotChunk" }>;

const messagesMax = 64;
const commandsMax = 32;

export class Eyes {
  readonly #messages: Message[] = [];
  readonly #commands: Command[] = [];
  #chunk: SnapshotChunk | undefined;
  /** The highest term that passed. */
  term = 0;

  see(message: PeerMessage): void {
    if (message.type === "snapshotChunk") this.#chunk = message;
    if (message.type !== "raft" && message.type !== "snapshotChunk") return;
    this.term = Math.max(this.term, message.message.term);
    keep(this.#messages, message.message, messagesMax);
    for (const entry of message.message.entries) this.#read(entry);
  }

  #read(entry: Entry): void {
    if (entry.kind !== "normal" || entry.data.length === 0) return;
    try {
      keep(this.#commands, decodeCommand(entry.data), commandsMax);
    } catch (error) {
      // The first entry of a leader, or one of a later level.
      if (errorCodeOf(error) === undefined) throw error;
    }
  }

  /** Those of the type that passed lately, the newest last. */
  messages(type: Message["type"]): readonly Message[] {
    return this.#messages.filter((message) => message.type === type);
  }

  /** Commands of others, with their request ids. */
  get commands(): readonly Command[] {
    return this.#commands;
  }

  /** The last piece of a snapshot that came. */
  get chunk(): SnapshotChunk | undefined {
    return this.#chunk;
  }
}

function keep<T>(items: T[], item: T, itemsMax: number): void {
  items.push(item);
  if (items.length > itemsMax) items.shift();
}
