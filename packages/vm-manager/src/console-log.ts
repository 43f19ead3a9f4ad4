/**
 * The serial output of one VM over all its starts: `console.log`, which the instance's process appends to, and
 * `console.old`, the piece before it. Offsets count bytes of the whole output, so a reader can go on where it stopped.
 *
 * The process keeps `console.log` open for appending, so a full log is copied and then cut to nothing in place. A byte
 * written between the copy and the cut, some microseconds, is lost.
 */
import { open, readFile, rename, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { SerialQueue, systemErrorCodeOf } from "@blixard/common";
import { writeFileDurable } from "@blixard/common/system";
import type { ConsolePiece } from "./vm-manager-types.ts";

interface Bases {
  /** Offset of the first byte of `console.log`. */
  readonly current: number;
  /** Offset of the first byte of `console.old`. */
  readonly old: number;
}

export class ConsoleLog {
  readonly #directory: string;
  readonly #bytesMax: number;
  readonly #queue = new SerialQueue();
  #bases: Bases | undefined;

  constructor(directory: string, bytesMax: number) {
    this.#directory = directory;
    this.#bytesMax = bytesMax;
  }

  /** Forgets what it knew of files that were removed. */
  reset(): void {
    this.#bases = undefined;
  }

  /** Length of the whole output. */
  async endOffset(): Promise<number> {
    return await this.#queue.run(async () => (await this.#load()).current + (await sizeOf(this.#path("console.log"))));
  }

  async read(offset: number, bytesMax: number): Promise<ConsolePiece> {
    return await this.#queue.run(async () => {
      const bases = await this.#load();
      const endOffset = bases.current + (await sizeOf(this.#path("console.log")));
      const wanted = offset < 0 ? endOffset + offset : offset;
      const from = Math.min(Math.max(wanted, bases.old), endOffset);
      const inOld = from < bases.current;
      const data = inOld
        ? await readAt(this.#path("console.old"), from - bases.old, Math.min(bytesMax, bases.current - from))
        : await readAt(this.#path("console.log"), from - bases.current, Math.min(bytesMax, endOffset - from));
      return { offset: from, data, endOffset };
    });
  }

  /** Moves a log that is full out of the way. */
  async rotate(): Promise<void> {
    await this.#queue.run(async () => {
      const bases = await this.#load();
      const path = this.#path("console.log");
      if ((await sizeOf(path)) < this.#bytesMax) return;
      const copied = await this.#copyTail(path);
      await truncate(path, 0);
      this.#bases = { current: bases.current + copied.end, old: bases.current + copied.start };
      await writeFileDurable(this.#path("console.json"), JSON.stringify(this.#bases));
    });
  }

  /** Copies the end of the log; without a manager it may have grown far past its limit. */
  async #copyTail(path: string): Promise<{ readonly start: number; readonly end: number }> {
    const temporary = this.#path("console.old.tmp");
    const start = Math.max(0, (await sizeOf(path)) - this.#bytesMax * 2);
    const target = await open(temporary, "w", 0o600);
    try {
      let end = start;
      for (;;) {
        const piece = await readAt(path, end, this.#bytesMax);
        if (piece.length === 0) break;
        await target.write(piece, 0, piece.length, end - start);
        end += piece.length;
      }
      await rename(temporary, this.#path("console.old"));
      return { start, end };
    } finally {
      await target.close();
    }
  }

  async #load(): Promise<Bases> {
    this.#bases ??= await readBases(this.#path("console.json"));
    return this.#bases;
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

async function readBases(path: string): Promise<Bases> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as Partial<Bases>;
    return { current: Number(value.current ?? 0), old: Number(value.old ?? 0) };
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return { current: 0, old: 0 };
    throw error;
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return 0;
    throw error;
  }
}

async function readAt(path: string, position: number, bytesMax: number): Promise<Uint8Array> {
  if (bytesMax <= 0) return new Uint8Array(0);
  const file = await open(path, "r");
  try {
    const buffer = new Uint8Array(bytesMax);
    const { bytesRead } = await file.read(buffer, 0, bytesMax, position);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
