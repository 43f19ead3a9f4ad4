/**
 * What the log is known to hold, in a file of its own. A log that lost its newest writes reads like one whose last write
 * a power cut interrupted: LevelDB, and every checksum inside the log, take it for whole. Each write of the log has a
 * number, and the seal says which of them was durable. It is written after that, and now and then only, and not synced:
 * it may be behind the log, which proves less, and never ahead of it.
 *
 *     payload: writes (8) | starts (8) | id of the store (16)
 */
import { type Clock, type Logger, messageOf, type Timer } from "@blixard/common";
import { readUint64, writeUint64 } from "../records/integers.ts";
import { corrupt } from "../records/record.ts";
import { openSlotDisk, type SlotDisk, SlotFile } from "./slot-file.ts";

/** A log that has less than one of these numbers has lost what was durable. */
export interface SealedLog {
  /** Number of the last write with a head (see log-head.ts); undefined when an older release wrote that. */
  readonly writes: number | undefined;
  /** How often the store was opened. */
  readonly starts: number;
}

/** What the log tells its seal. */
export interface WriteSeal {
  /** The write with this number is durable. Returns at once and never throws. */
  note(writes: number): void;
  close(): Promise<void>;
}

/** For a log whose losses are found out by other means, as in the simulator. */
export const noSeal: WriteSeal = { note: () => {}, close: async () => {} };

const format = { name: "seal", payloadBytes: 32 };
/** A loss of what was written in so short a time may go unnoticed here; the others of the cluster notice it. */
const writeDelayMs = 250;

export interface LogSealDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class LogSeal implements WriteSeal {
  readonly #slots: SlotFile;
  readonly #storeId: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #writes = 0;
  #starts = 0;
  #timer: Timer | undefined;
  #failed = false;

  private constructor(file: SlotDisk, storeId: string, { clock, logger }: LogSealDeps) {
    this.#slots = new SlotFile(file, format);
    this.#storeId = storeId;
    this.#logger = logger;
    this.#clock = clock;
  }

  /** The file is made when it does not exist; its directory must be synced by the caller. */
  static async open(path: string, storeId: string, deps: LogSealDeps): Promise<LogSeal> {
    return new LogSeal(await openSlotDisk(path), storeId, deps);
  }

  /**
   * Compares the log with what was sealed. Returns the number of the last write, from which the log counts on.
   * @throws STORAGE_CORRUPT when the log has less
   */
  async check(found: SealedLog): Promise<number> {
    const payload = await this.#slots.load();
    const isOwn = payload !== undefined && payload.toString("hex", 16, 32) === this.#storeId;
    const sealed = isOwn
      ? { writes: readUint64(payload, 0), starts: readUint64(payload, 8) }
      : { writes: 0, starts: 0 };
    const writes = found.writes ?? sealed.writes;
    if (writes < sealed.writes) {
      throw corrupt(`the log has lost writes that were durable: it ends with number ${writes} of ${sealed.writes}`);
    }
    if (found.starts < sealed.starts) {
      throw corrupt(
        `the log has lost writes that were durable: it knows of ${found.starts} of ${sealed.starts} starts`,
      );
    }
    this.#writes = writes;
    return writes;
  }

  /** The start with this number is durable. */
  async noteStart(starts: number): Promise<void> {
    this.#starts = starts;
    await this.#save({ sync: false });
  }

  note(writes: number): void {
    this.#writes = Math.max(this.#writes, writes);
    if (this.#failed) return;
    this.#timer ??= this.#clock.setTimer(writeDelayMs, () => {
      this.#timer = undefined;
      void this.#save({ sync: false });
    });
  }

  async #save(how: { readonly sync: boolean }): Promise<void> {
    if (this.#failed) return;
    const payload = Buffer.alloc(format.payloadBytes);
    writeUint64(payload, this.#writes, 0);
    writeUint64(payload, this.#starts, 8);
    payload.write(this.#storeId, 16, "hex");
    try {
      await this.#slots.save(payload, how);
    } catch (error) {
      // Nothing depends on it; a disk that fails shows in the log itself.
      this.#failed = true;
      this.#logger.log("warn", "the seal of the log cannot be written", { reason: messageOf(error) });
    }
  }

  /** Closes the file as it is: a log that does not have what was sealed is not sealed anew. */
  async abandon(): Promise<void> {
    this.#failed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#slots.close();
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#save({ sync: true });
    this.#failed = true;
    await this.#slots.close();
  }
}
