/**
 * What a power cut leaves of a directory, worked out from the system calls that were made on it until then. It is a
 * model, with these rules, and no real disk:
 *
 *   - The bytes of a file survive as they were when the last sync of it began; of what was written later, nothing
 *     ("dropped") or the first half ("torn") survives. A disk may also keep later bytes without earlier ones; the
 *     file check treats both alike, and `damage.test.ts` flips bits.
 *   - Names either all survive ("kept": the journal was written just before), or only as they were when their directory
 *     was synced, and with the file itself when that was synced ("lost"), as on ext4, XFS and btrfs.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { DiskEvent } from "./traced-run.ts";

export interface CrashOptions {
  readonly tails: "dropped" | "torn";
  readonly names: "kept" | "lost";
}

interface File {
  bytes: Buffer;
  /** Undefined until the first sync. */
  durable: Buffer | undefined;
}

/** Takes events one by one; `write` makes a directory as a crash at that moment would leave it. */
export class CrashModel {
  readonly #dataDir: string;
  readonly #names = new Map<string, File>();
  readonly #durableNames = new Map<string, File>();
  readonly #directories = new Set<string>();
  readonly #syncing = new Map<number, { readonly file: File; readonly bytes: Buffer }>();

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  take(event: DiskEvent): void {
    switch (event.type) {
      case "makeDirectory":
        this.#directories.add(event.path);
        break;
      case "create":
        this.#create(event.path, event.truncate);
        break;
      case "write":
        this.#write(event.path, event.data, event.offset);
        break;
      case "truncate": {
        const file = this.#create(event.path, false);
        file.bytes = Buffer.concat([file.bytes, Buffer.alloc(event.lengthBytes)]).subarray(0, event.lengthBytes);
        break;
      }
      case "syncBegins": {
        const file = this.#names.get(event.path);
        if (file !== undefined) this.#syncing.set(event.id, { file, bytes: file.bytes });
        break;
      }
      case "syncEnds":
        this.#endSync(event.path, event.id);
        break;
      case "rename": {
        const file = this.#names.get(event.from);
        if (file !== undefined) this.#names.set(event.to, file);
        this.#names.delete(event.from);
        break;
      }
      case "remove":
        this.#names.delete(event.path);
        break;
      case "said":
        break;
      default:
        event satisfies never;
    }
  }

  #create(path: string, truncate: boolean): File {
    const present = this.#names.get(path);
    if (present !== undefined && !truncate) return present;
    if (present !== undefined) {
      present.bytes = Buffer.alloc(0);
      return present;
    }
    const file: File = { bytes: Buffer.alloc(0), durable: undefined };
    this.#names.set(path, file);
    return file;
  }

  #write(path: string, data: Buffer, offset: number | undefined): void {
    const file = this.#create(path, false);
    const at = offset ?? file.bytes.length;
    const before = Buffer.concat([file.bytes, Buffer.alloc(Math.max(0, at - file.bytes.length))]);
    file.bytes = Buffer.concat([before.subarray(0, at), data, before.subarray(at + data.length)]);
  }

  #endSync(path: string, id: number): void {
    const begun = this.#syncing.get(id);
    if (begun !== undefined) {
      this.#syncing.delete(id);
      begun.file.durable = begun.bytes;
      this.#durableNames.set(path, begun.file);
      return;
    }
    // A directory: its names are on the disk as they are now.
    for (const known of [...this.#durableNames.keys()]) if (dirname(known) === path) this.#durableNames.delete(known);
    for (const [known, file] of this.#names) if (dirname(known) === path) this.#durableNames.set(known, file);
  }

  /** Writes the crash image to `target`, which must not exist. */
  async write(target: string, options: CrashOptions): Promise<void> {
    const move = (path: string) => `${target}${path.slice(this.#dataDir.length)}`;
    await mkdir(target, { recursive: true });
    for (const directory of this.#directories) await mkdir(move(directory), { recursive: true });
    for (const [path, file] of options.names === "kept" ? this.#names : this.#durableNames) {
      await mkdir(dirname(move(path)), { recursive: true });
      await writeFile(move(path), survivingBytes(file, options));
    }
  }
}

function survivingBytes({ bytes, durable = Buffer.alloc(0) }: File, { tails }: CrashOptions): Buffer {
  if (tails === "dropped" || bytes.length <= durable.length) return durable;
  const kept = Math.floor((bytes.length - durable.length) / 2);
  return Buffer.concat([durable, bytes.subarray(durable.length, durable.length + kept)]);
}
