/**
 * A second copy of term and vote in a small file of its own. A node that forgets its vote can vote twice in a term and
 * elect two leaders, so one damaged block must not be enough to lose it. Two slots are written in turn: a torn write
 * leaves the other one.
 *
 *     slot (64 bytes): sealed record of sequence (8) | term (8) | vote (8)
 */
import { open } from "node:fs/promises";
import { BlixardError, messageOf, SerialQueue, systemErrorCodeOf } from "@blixard/common";
import { asNodeId, asTerm, type NodeId, type Term } from "@blixard/raft/core";
import { readUint64, writeUint64 } from "../records/integers.ts";
import { openRecord, sealRecord } from "../records/record.ts";

export interface Vote {
  readonly term: Term;
  readonly vote: NodeId;
}

/** What the vote file uses of an open file. A simulated disk is another implementation. */
export interface VoteDisk {
  read(into: Buffer, offset: number, lengthBytes: number, position: number): Promise<{ readonly bytesRead: number }>;
  write(from: Buffer, offset: number, lengthBytes: number, position: number): Promise<unknown>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

const slotBytes = 64;
const payloadBytes = 24;
const sealedBytes = payloadBytes + 5;
const slotKey = Buffer.from("vote", "latin1");

export class VoteFile {
  readonly #file: VoteDisk;
  readonly #path: string;
  readonly #writes = new SerialQueue();
  #sequence = 0;
  #failure: BlixardError | undefined;

  private constructor(file: VoteDisk, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** Opens the file, or makes an empty one; its directory must be synced by the caller. */
  static async open(path: string): Promise<VoteFile> {
    try {
      return new VoteFile(await open(path, "r+"), path);
    } catch (error) {
      if (systemErrorCodeOf(error) !== "ENOENT") throw error;
      return new VoteFile(await open(path, "wx+"), path);
    }
  }

  /** The vote file in an open file; `path` only names it in errors. */
  static over(file: VoteDisk, path: string): VoteFile {
    return new VoteFile(file, path);
  }

  /** The newest readable slot; undefined when there is none. */
  async load(): Promise<Vote | undefined> {
    const bytes = Buffer.alloc(2 * slotBytes);
    const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, 0);
    let newest: Vote | undefined;
    for (const at of [0, slotBytes]) {
      if (bytesRead < at + sealedBytes) continue;
      const payload = readSlot(bytes.subarray(at, at + sealedBytes));
      if (payload === undefined || readUint64(payload, 0) < this.#sequence) continue;
      this.#sequence = readUint64(payload, 0);
      newest = { term: asTerm(readUint64(payload, 8)), vote: asNodeId(readUint64(payload, 16)) };
    }
    return newest;
  }

  /** Durable when it resolves. @throws STORAGE_FAILED, and then for ever */
  save({ term, vote }: Vote): Promise<void> {
    return this.#writes.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      const payload = Buffer.alloc(payloadBytes);
      this.#sequence++;
      writeUint64(payload, this.#sequence, 0);
      writeUint64(payload, term, 8);
      writeUint64(payload, vote, 16);
      const slot = Buffer.alloc(slotBytes);
      slot.set(sealRecord(slotKey, payload), 0);
      try {
        await this.#file.write(slot, 0, slotBytes, (this.#sequence % 2) * slotBytes);
        await this.#file.datasync();
      } catch (error) {
        this.#failure = new BlixardError("STORAGE_FAILED", `write ${this.#path}: ${messageOf(error)}`, {
          cause: error,
          outcome: "unknown",
        });
        throw this.#failure;
      }
    });
  }

  async close(): Promise<void> {
    await this.#writes.idle();
    await this.#file.close();
  }
}

function readSlot(sealed: Buffer): Buffer | undefined {
  try {
    return openRecord(slotKey, sealed);
  } catch {
    return undefined;
  }
}
