/**
 * The messages that wait for one peer, by importance: votes and heartbeats, then responses, then appends, then pieces
 * of snapshots. The queue is bounded in messages and in bytes. It drops what does not fit, because Raft sends it again.
 */
import { BoundedQueue } from "@blixard/common";
import type { Entry, Message, PeerMessage } from "@blixard/raft";
import type { StreamClass } from "../frames/stream-class.ts";
import { transportLimits } from "../transport-limits.ts";

type Level = "urgent" | "responses" | "appends" | "bulk";
const levelsOf: Readonly<Record<StreamClass, readonly Level[]>> = {
  urgent: ["urgent"],
  normal: ["responses", "appends"],
  bulk: ["bulk"],
};

interface Waiting {
  readonly message: PeerMessage;
  readonly bytes: number;
}

/** About what a message costs in memory and on the wire, without encoding it. */
const messageBytes = 48;
const entryBytes = 24;

export class OutboundQueue {
  readonly #levels: Readonly<Record<Level, BoundedQueue<Waiting>>> = {
    urgent: new BoundedQueue(transportLimits.queueMessagesMax),
    responses: new BoundedQueue(transportLimits.queueMessagesMax),
    appends: new BoundedQueue(transportLimits.queueMessagesMax),
    bulk: new BoundedQueue(transportLimits.queueMessagesMax),
  };
  #bytes = 0;

  get length(): number {
    let length = 0;
    for (const queue of Object.values(this.#levels)) length += queue.length;
    return length;
  }

  /** Returns the class whose stream will carry the message, or undefined when the message did not fit. */
  push(message: PeerMessage): StreamClass | undefined {
    const level = levelOf(message);
    const bytes = estimatedBytes(message);
    // Urgent messages are small and few: bytes that appends have queued do not keep them out.
    if (level !== "urgent" && this.#bytes + bytes > transportLimits.queueBytesMax && this.#bytes > 0) return undefined;
    if (!this.#levels[level].push({ message, bytes })) return undefined;
    this.#bytes += bytes;
    return level === "urgent" || level === "bulk" ? level : "normal";
  }

  /** The next messages for one frame of the class; empty when none wait. */
  take(streamClass: StreamClass): PeerMessage[] {
    const messages: PeerMessage[] = [];
    const bytesMax =
      streamClass === "urgent" ? transportLimits.urgentFrameBytesMax / 2 : transportLimits.gatherBytesMax;
    let bytes = 0;
    for (const level of levelsOf[streamClass]) {
      const queue = this.#levels[level];
      for (let waiting = queue.peek(); waiting !== undefined; waiting = queue.peek()) {
        const full = bytes + waiting.bytes > bytesMax || messages.length >= transportLimits.gatherMessagesMax;
        if (full && messages.length > 0) return messages;
        queue.shift();
        this.#bytes -= waiting.bytes;
        bytes += waiting.bytes;
        messages.push(waiting.message);
      }
    }
    return messages;
  }

  /** Forgets everything; returns how many messages were dropped. */
  clear(): number {
    const dropped = this.length;
    for (const queue of Object.values(this.#levels)) queue.clear();
    this.#bytes = 0;
    return dropped;
  }
}

function levelOf(message: PeerMessage): Level {
  switch (message.type) {
    case "snapshotChunk":
      return "bulk";
    case "snapshotAck":
    case "proposalAnswer":
      // The answer tells where an entry stands: best before that entry arrives among the appends.
      return "responses";
    case "proposal":
      return "appends";
    case "raft":
      return raftLevelOf(message.message);
    default:
      return message satisfies never;
  }
}

function raftLevelOf(message: Message): Level {
  switch (message.type) {
    case "MsgApp":
    case "MsgProp":
    case "MsgSnap":
      return "appends";
    case "MsgAppResp":
      return "responses";
    default:
      return "urgent";
  }
}

function estimatedBytes(message: PeerMessage): number {
  switch (message.type) {
    case "snapshotAck":
    case "proposalAnswer":
      return messageBytes;
    case "proposal":
      return messageBytes + entryBytesOf(message.entry);
    case "snapshotChunk":
      return raftBytes(message.message) + message.data.length;
    case "raft":
      return raftBytes(message.message);
    default:
      return message satisfies never;
  }
}

function raftBytes({ context, snapshot, entries }: Message): number {
  let bytes = messageBytes + (context?.length ?? 0) + (snapshot?.data.length ?? 0);
  for (const entry of entries) bytes += entryBytesOf(entry);
  return bytes;
}

const entryBytesOf = (entry: Entry): number => entryBytes + (entry.kind === "normal" ? entry.data.length : 64);
