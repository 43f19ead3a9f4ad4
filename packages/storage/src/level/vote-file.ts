/**
 * A second copy of term and vote in a small file of its own. A node that forgets its vote can vote twice in a term and
 * elect two leaders, so one damaged block must not be enough to lose it.
 *
 *     payload: term (8) | vote (8)
 */
import { BlixardError, messageOf } from "@blixard/common";
import { asNodeId, asTerm, type NodeId, type Term } from "@blixard/raft/core";
import { readUint64, writeUint64 } from "../records/integers.ts";
import { openSlotDisk, type SlotDisk, SlotFile } from "./slot-file.ts";

export interface Vote {
  readonly term: Term;
  readonly vote: NodeId;
}

const format = { name: "vote", payloadBytes: 16 };

export class VoteFile {
  readonly #slots: SlotFile;
  readonly #path: string;
  #failure: BlixardError | undefined;

  private constructor(file: SlotDisk, path: string) {
    this.#slots = new SlotFile(file, format);
    this.#path = path;
  }

  /** Opens the file, or makes an empty one; its directory must be synced by the caller. */
  static async open(path: string): Promise<VoteFile> {
    return new VoteFile(await openSlotDisk(path), path);
  }

  /** The vote file in an open file; `path` only names it in errors. */
  static over(file: SlotDisk, path: string): VoteFile {
    return new VoteFile(file, path);
  }

  /** The newest readable slot; undefined when there is none. */
  async load(): Promise<Vote | undefined> {
    const payload = await this.#slots.load();
    if (payload === undefined) return undefined;
    return { term: asTerm(readUint64(payload, 0)), vote: asNodeId(readUint64(payload, 8)) };
  }

  /** Durable when it resolves. @throws STORAGE_FAILED, and then for ever */
  async save({ term, vote }: Vote): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const payload = Buffer.alloc(format.payloadBytes);
    writeUint64(payload, term, 0);
    writeUint64(payload, vote, 8);
    try {
      await this.#slots.save(payload, { sync: true });
    } catch (error) {
      this.#failure ??= new BlixardError("STORAGE_FAILED", `write ${this.#path}: ${messageOf(error)}`, {
        cause: error,
        outcome: "unknown",
      });
      throw this.#failure;
    }
  }

  close(): Promise<void> {
    return this.#slots.close();
  }
}
