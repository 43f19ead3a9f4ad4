/**
 * A small file that holds one record at a time, newest first. Two slots are written in turn: a torn write leaves the
 * other one.
 *
 *     slot (64 bytes): sealed record of sequence (8) | payload
 */
import { constants, open } from "node:fs/promises";
import { SerialQueue, systemErrorCodeOf } from "@blixard/common";
import { readUint64, writeUint64 } from "../records/integers.ts";
import { openRecord, recordHeaderBytes, sealRecord } from "../records/record.ts";

/** What is used of an open file. A simulated disk is another implementation. */
export interface SlotDisk {
  read(into: Buffer, offset: number, lengthBytes: number, position: number): Promise<{ readonly bytesRead: number }>;
  write(from: Buffer, offset: number, lengthBytes: number, position: number): Promise<unknown>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export interface SlotFormat {
  /** Part of the checksum, so that the record of another file is none. */
  readonly name: string;
  /** At most 51. */
  readonly payloadBytes: number;
}

const slotBytes = 64;
const sequenceBytes = 8;

export class SlotFile {
  readonly #file: SlotDisk;
  readonly #key: Buffer;
  readonly #sealedBytes: number;
  readonly #writes = new SerialQueue();
  #sequence = 0;
  #failure: unknown;

  constructor(file: SlotDisk, { name, payloadBytes }: SlotFormat) {
    this.#file = file;
    this.#key = Buffer.from(name, "latin1");
    this.#sealedBytes = recordHeaderBytes + sequenceBytes + payloadBytes;
  }

  /** The payload of the newest readable slot; undefined when there is none. */
  async load(): Promise<Buffer | undefined> {
    const bytes = Buffer.alloc(2 * slotBytes);
    const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, 0);
    let newest: Buffer | undefined;
    for (const at of [0, slotBytes]) {
      if (bytesRead < at + this.#sealedBytes) continue;
      const record = this.#open(bytes.subarray(at, at + this.#sealedBytes));
      if (record === undefined || readUint64(record, 0) < this.#sequence) continue;
      this.#sequence = readUint64(record, 0);
      newest = record.subarray(sequenceBytes);
    }
    return newest;
  }

  #open(sealed: Buffer): Buffer | undefined {
    try {
      return openRecord(this.#key, sealed);
    } catch {
      return undefined;
    }
  }

  /** Writes the other slot; durable when it resolves and `sync` is true. After the first error all later ones fail. */
  save(payload: Uint8Array, { sync }: { readonly sync: boolean }): Promise<void> {
    return this.#writes.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#sequence++;
      const record = Buffer.alloc(sequenceBytes + payload.length);
      writeUint64(record, this.#sequence, 0);
      record.set(payload, sequenceBytes);
      const slot = Buffer.alloc(slotBytes);
      slot.set(sealRecord(this.#key, record), 0);
      try {
        await this.#file.write(slot, 0, slotBytes, (this.#sequence % 2) * slotBytes);
        if (sync) await this.#file.datasync();
      } catch (error) {
        this.#failure = error;
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    await this.#writes.idle();
    await this.#file.close();
  }
}

/** Opens the file, or makes an empty one; its directory must be synced by the caller. */
export async function openSlotDisk(path: string): Promise<SlotDisk> {
  try {
    return await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemErrorCodeOf(error) !== "ENOENT") throw error;
    return await open(path, "wx+");
  }
}
